"""Datasets for Superset: the views with the meaning of their columns, and metrics that add up."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loader.reports.dictionary import Column, Relation

#: Views that are no datasets: they describe the data's state instead of the e-mails.
WITHOUT_DATASET = frozenset({"load_health", "loaded_chunks", "identity_coverage"})
#: Views whose counts may be added up over all rows; those of people may not.
ADDITIVE = frozenset(
    """
    attributed_revenue_days campaign_days campaign_funnel campaigns cohorts link_days links list_growth
    mailbox_domain_days mailbox_domains recipients send_times
    """.split()  # noqa: SIM905
)
#: Columns, with their views, of shares, and of people who are in several rows.
NOT_SUMMED = re.compile("(.*[.]((human_)?share.*|.*_rate|.*_per_email|recipients.*))|links[.](human_)?people")
#: The column of time by which charts are drawn, the first one that a view has.
TIME_COLUMNS = (
    *("timestamp", "delivery_day", "order_day", "click_day", "day", "cohort_week", "converted_at", "delivered_at"),
    "first_delivered_at",
)
#: Columns that are computed, by view: what sorts as text in the order of time.
COMPUTED = {
    "campaign_funnel": {"step_label": "step_number || ' ' || step"},
    "send_times": {"weekday_label": "weekday || ' ' || left(weekday_name, 3)"},
    "cohorts": {"cohort_label": "to_char(cohort_week, 'YYYY-MM-DD')"},
}
#: Shares by name: the sums of two columns, for views that have both. A view's own rates are right for its rows only.
RATIOS = {
    "delivery_rate": ("arrived", "attempted"),
    "bounce_rate": ("bounced", "attempted"),
    "open_rate": ("opened", "delivered"),
    "human_open_rate": ("human_opened", "delivered"),
    "click_rate": ("clicked", "delivered"),
    "human_click_rate": ("human_clicked", "delivered"),
    "click_to_open_rate": ("clicked", "opened_or_clicked"),
    "human_click_to_open_rate": ("human_clicked", "human_opened_or_clicked"),
    "unsubscribe_rate": ("unsubscribed", "delivered"),
    "complaint_rate": ("complained", "delivered"),
    "conversion_rate": ("converted", "delivered"),
    "revenue_per_email": ("revenue", "delivered"),
    "active_share": ("active", "people"),
    "converted_share": ("converted", "people"),
}
#: Metrics of single views: expression and meaning.
SPECIAL: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "campaign_days": {"machine_opened": ("sum(opened - human_opened)", "Messages that only machines opened")},
    "email_events": {"events": ("count(*)", "Events")},
    "email_messages": {
        "messages": ("count(*)", "Messages"),
        "delivered": ("count(delivered_at)", "Messages that were delivered"),
        "human_open_rate": (
            "count(human_opened_at) filter (where delivered_at is not null)::numeric / nullif(count(delivered_at), 0)",
            "Share of the delivered messages that a person opened",
        ),
    },
    "recipients": {"people": ("count(*)", "People")},
    "conversions_attributed": {
        "attributed_revenue": ("sum(attributed_revenue)", "Credited revenue; choose one model, each has all of it")
    },
}
COUNT, MONEY, SHARE = ",d", ",.2f", ".1%"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a dataset; `form` is its number format, as D3 writes it."""

    name: str
    expression: str
    meaning: str
    form: str

    def describe(self, currency: str | None) -> dict[str, Any]:
        """Return the metric as Superset imports it."""
        is_money = self.form == MONEY and currency
        return {
            "metric_name": self.name,
            "verbose_name": self.name.removeprefix("sum_").removeprefix("ratio_").replace("_", " ").capitalize(),
            "metric_type": None,
            "expression": self.expression,
            "description": self.meaning,
            "d3format": self.form,
            "currency": {"symbol": currency, "symbolPosition": "suffix"} if is_money else None,
            "extra": {},
            "warning_text": None,
        }


def list_metrics(view: Relation) -> list[Metric]:
    """Return the metrics of a view: sums, ratios of sums, and those of its own."""
    return [*_sums(view), *_ratios(view), *_special(view)]


def _sums(view: Relation) -> Iterator[Metric]:
    if view.name in ADDITIVE:
        for column in view.columns:
            if column.type in {"bigint", "numeric"} and not NOT_SUMMED.fullmatch(f"{view.name}.{column.name}"):
                form = MONEY if "revenue" in column.name else COUNT
                yield Metric(f"sum_{column.name}", f"sum({column.name})", column.meaning, form)


def _ratios(view: Relation) -> Iterator[Metric]:
    names = {column.name for column in view.columns}
    for name, (part, whole) in RATIOS.items():
        if view.name in ADDITIVE and {part, whole} <= names:
            form = MONEY if part == "revenue" else SHARE
            yield Metric(f"ratio_{name}", f"sum({part}) / nullif(sum({whole}), 0)", f"{part} ÷ {whole}", form)


def _special(view: Relation) -> Iterator[Metric]:
    for name, (expression, meaning) in SPECIAL.get(view.name, {}).items():
        form = MONEY if "revenue" in name else SHARE if name.endswith("_rate") else COUNT
        yield Metric(f"sum_{name}" if form != SHARE else f"ratio_{name}", expression, meaning, form)


def time_column(view: Relation) -> str | None:
    """Return the column of time by which a view's charts are drawn; None for a view without one."""
    names = {column.name for column in view.columns}
    return next((name for name in TIME_COLUMNS if name in names), None)


def describe_columns(view: Relation) -> list[dict[str, Any]]:
    """Return the columns of a view as Superset imports them, with those that are computed."""
    computed = COMPUTED.get(view.name, {})
    return [
        *(_describe_column(column, None) for column in view.columns),
        *(_describe_column(Column(name, "text", ""), expression) for name, expression in computed.items()),
    ]


def _describe_column(column: Column, expression: str | None) -> dict[str, Any]:
    is_time = column.type in {"date", "timestamp with time zone"}
    return {
        "column_name": column.name,
        "verbose_name": None,
        "is_dttm": is_time,
        "is_active": True,
        "type": column.type.upper(),
        "groupby": column.type not in {"numeric", "double precision", "interval"},
        "filterable": True,
        "expression": expression,
        "description": column.meaning,
        "python_date_format": None,
        "extra": {},
    }


def list_datasets(relations: Sequence[Relation]) -> list[Relation]:
    """Return the views that become datasets."""
    return [relation for relation in relations if relation.kind == "view" and relation.name not in WITHOUT_DATASET]
