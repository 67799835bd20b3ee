"""The charts of Superset's dashboard: what each shows, as form data and as a query."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: Grids of time, as ISO 8601 writes durations.
DAY, WEEK = "P1D", "P1W"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of one view: its title, its kind in Superset, its metrics, and the columns by which they are grouped."""

    title: str
    kind: str
    view: str
    metrics: Sequence[str]
    columns: Sequence[str] = ()
    #: The axis of time, or of another column.
    axis: str | None = None
    grain: str | None = None
    #: Columns of the dashboard's grid, of 12, and rows of 8 pixels.
    width: int = 6
    height: int = 50
    rows: int = 100
    #: A condition for the rows, as SQL.
    where: str | None = None
    #: Settings of the kind of chart.
    look: dict[str, Any] = field(default_factory=dict)


_BARS = {"orientation": "vertical", "rich_tooltip": True, "show_legend": True, "legendOrientation": "top"}
_HEAT = {
    "linear_color_scheme": "schemeBuGn",
    "normalize_across": "heatmap",
    "legend_type": "continuous",
    "show_legend": True,
    "sort_x_axis": "alpha_asc",
    "xscale_interval": 1,
    "yscale_interval": 1,
    "left_margin": "auto",
    "bottom_margin": "auto",
    "value_bounds": [None, None],
    "y_axis_format": ".1%",
}
_TOTAL = {
    "aggregation": "raw",
    "show_trend_line": True,
    "start_y_axis_at_zero": True,
    "header_font_size": 0.4,
    "subheader_font_size": 0.15,
    "time_format": "smart_date",
}
_TABLE = {"query_mode": "aggregate", "table_timestamp_format": "smart_date", "show_cell_bars": True, "order_desc": True}


def _total(title: str, metric: str) -> Chart:
    return Chart(
        title, "big_number", "campaign_days", [metric], axis="delivery_day", grain=WEEK, width=3, height=22, look=_TOTAL
    )


#: The dashboard's rows from the top; the widths of a row's charts add up to 12.
ROWS: Sequence[Sequence[Chart]] = (
    (
        _total("Delivered", "sum_delivered"),
        _total("Opened by people", "ratio_human_open_rate"),
        _total("Clicked by people", "ratio_human_click_rate"),
        _total("Revenue", "sum_revenue"),
    ),
    (
        Chart(
            "Delivered by week",
            "echarts_timeseries_bar",
            "campaign_days",
            ["sum_delivered"],
            axis="delivery_day",
            grain=WEEK,
            look=_BARS | {"y_axis_format": ",d"},
        ),
        Chart(
            "Opens and clicks by people, share of delivered",
            "echarts_timeseries_line",
            "campaign_days",
            ["ratio_human_open_rate", "ratio_human_click_rate"],
            axis="delivery_day",
            grain=WEEK,
            look=_BARS | {"y_axis_format": ".1%", "truncateYAxis": True, "y_axis_bounds": [0, None]},
        ),
    ),
    (
        Chart(
            "Campaigns that sold most",
            "table",
            "campaign_days",
            [
                *("sum_delivered", "ratio_human_open_rate", "ratio_human_click_rate", "ratio_unsubscribe_rate"),
                *("sum_conversions", "sum_revenue"),
            ],
            ["campaign_name"],
            width=8,
            rows=20,
            look=_TABLE | {"timeseries_limit_metric": "sum_revenue"},
        ),
        Chart(
            "From delivery to order, people",
            "echarts_timeseries_bar",
            "campaign_funnel",
            ["sum_people"],
            axis="step_label",
            width=4,
            look=_BARS | {"show_value": True, "show_legend": False, "y_axis_format": ",d", "xAxisLabelRotation": 30},
        ),
    ),
    (
        Chart(
            "Opened by people and only by machines",
            "echarts_timeseries_bar",
            "campaign_days",
            ["sum_human_opened", "sum_machine_opened"],
            axis="delivery_day",
            grain=WEEK,
            look=_BARS | {"stack": "Stack", "y_axis_format": ",d"},
        ),
        Chart(
            "Clicked by people, by weekday and hour of delivery",
            "heatmap_v2",
            "send_times",
            ["ratio_human_click_rate"],
            ["weekday_label"],
            axis="delivery_hour",
            rows=200,
            look=_HEAT | {"sort_y_axis": "alpha_desc"},
        ),
    ),
    (
        Chart(
            "Mailbox providers",
            "table",
            "mailbox_domain_days",
            [
                "sum_attempted",
                "ratio_delivery_rate",
                "ratio_bounce_rate",
                "ratio_human_open_rate",
                "ratio_complaint_rate",
            ],
            ["mailbox_domain"],
            rows=20,
            look=_TABLE | {"timeseries_limit_metric": "sum_attempted"},
        ),
        Chart(
            "Links that people clicked most",
            "table",
            "link_days",
            ["sum_human_clicks", "sum_clicks"],
            ["campaign_name", "link_name", "link_url"],
            rows=20,
            look=_TABLE | {"timeseries_limit_metric": "sum_human_clicks"},
        ),
    ),
    (
        Chart(
            "Revenue by attribution model",
            "echarts_timeseries_bar",
            "attributed_revenue_days",
            ["sum_attributed_revenue"],
            axis="model",
            height=80,
            look=_BARS | {"show_value": True, "show_legend": False, "y_axis_format": ",.0f", "xAxisLabelRotation": 30},
        ),
        Chart(
            "People by week of their first e-mail: share that is active",
            "heatmap_v2",
            "cohorts",
            ["ratio_active_share"],
            ["cohort_label"],
            axis="weeks_since",
            height=80,
            rows=5000,
            where="weeks_since <= 12",
            look=_HEAT | {"sort_y_axis": "alpha_desc"},
        ),
    ),
    (
        Chart(
            "List: first deliveries and unsubscriptions by week",
            "echarts_timeseries_bar",
            "list_growth",
            ["sum_first_deliveries", "sum_unsubscribed"],
            axis="day",
            grain=WEEK,
            width=12,
            look=_BARS | {"y_axis_format": ",d"},
        ),
    ),
)


def form_data(chart: Chart, time: str | None) -> dict[str, Any]:
    """Return a chart's settings as Superset's editor has them; `time` is its dataset's column of time."""
    one = chart.kind in {"big_number", "heatmap_v2"}
    grouped: Any = chart.columns[0] if chart.kind == "heatmap_v2" else list(chart.columns)
    return {
        "datasource": "",  # Superset enters the dataset's number
        "viz_type": chart.kind,
        "metric" if one else "metrics": chart.metrics[0] if one else list(chart.metrics),
        **({"groupby": grouped} if grouped else {}),
        **({"x_axis": chart.axis} if chart.axis else {}),
        **({"time_grain_sqla": chart.grain} if chart.grain else {}),
        "adhoc_filters": [*_period(time), *_condition(chart.where)],
        "row_limit": 10_000 if chart.grain else chart.rows,
        "extra_form_data": {},
        **chart.look,
    }


def _period(time: str | None) -> list[dict[str, Any]]:
    """Return the filter to which the dashboard's period applies."""
    if time is None:
        return []
    simple = {"clause": "WHERE", "expressionType": "SIMPLE", "operator": "TEMPORAL_RANGE"}
    return [{**simple, "subject": time, "comparator": "No filter"}]


def _condition(where: str | None) -> list[dict[str, Any]]:
    return [{"clause": "WHERE", "expressionType": "SQL", "sqlExpression": where}] if where else []


def query_context(chart: Chart, time: str | None) -> str:
    """Return the chart's queries as JSON, as Superset's editor stores them: its reports, cache and API need them."""
    sort = chart.look.get("timeseries_limit_metric", chart.metrics[0])
    query = {
        "columns": [*_axis(chart), *chart.columns],
        "metrics": list(chart.metrics),
        "filters": [{"col": time, "op": "TEMPORAL_RANGE", "val": "No filter"}] if time else [],
        "extras": {"having": "", "where": f"({chart.where})" if chart.where else ""},
        "orderby": [] if chart.grain else [[sort, False]],
        "row_limit": 10_000 if chart.grain else chart.rows,
        "annotation_layers": [],
        "applied_time_extras": {},
        "url_params": {},
        "custom_params": {},
        "custom_form_data": {},
    }
    queries = [query]
    if chart.kind == "big_number":  # the whole period too, since shares of weeks do not add up
        queries.append({**query, "columns": [], "orderby": []})
    return json.dumps(
        {
            "datasource": {"id": 0, "type": "table"},
            "force": False,
            "queries": queries,
            "form_data": form_data(chart, time),
            "result_format": "json",
            "result_type": "full",
        },
        ensure_ascii=False,
    )


def _axis(chart: Chart) -> list[Any]:
    if chart.axis is None:
        return []
    if chart.grain is None:
        return [chart.axis]
    axis = {"columnType": "BASE_AXIS", "expressionType": "SQL", "sqlExpression": chart.axis, "label": chart.axis}
    return [{**axis, "timeGrain": chart.grain}]
