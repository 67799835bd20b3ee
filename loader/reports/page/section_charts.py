"""The sections of a report that are charts: each takes the figures, and returns None if it is left out."""

from collections.abc import Sequence
from html import escape

from loader.reports.page import charts, periods
from loader.reports.page.charts import Bar, Mark, Stack
from loader.reports.page.figures import Figures, Mailing
from loader.reports.page.findings import busiest_time, machine_share
from loader.reports.page.formats import Formats
from loader.reports.page.periods import Period
from loader.reports.page.tables import Section, write_figures, write_legend

#: Number of mailings that are named in the chart of days, and the least distance of two names as a share of its width.
NAMES, NAME_DISTANCE = 3, 0.2
#: A mailing that is named has at least this share of the deliveries of the largest bar.
NAME_SHARE = 0.4
MAX_NAME = 30
#: The levels of colour of an hour, above 0.
LEVELS = 16
WEEKDAYS = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


def show_days(figures: Figures, formats: Formats) -> Section:
    """Return the chart of deliveries and what people did with them."""
    parts = periods.bars(figures.period)
    size = parts[0].days
    sums = [figures.sum(part) for part in parts]
    labels = [formats.short_day(part.first) for part in parts]
    bars = [
        Bar(
            f"{label}: {formats.number(one.delivered)} delivered, {formats.number(one.human_opened)} opened, "
            f"{formats.number(one.human_clicked)} clicked by people",
            one.delivered,
            one.human_opened,
            one.human_clicked,
        )
        for label, one in zip(labels, sums, strict=True)
    ]
    step = charts.scale(max(bar.delivered for bar in bars))
    every = {1: "Day by day", 7: "Week by week"}.get(size, "By 30 days")
    chart = charts.draw_bars(
        f"Bars of the e-mails delivered, opened by people and clicked by people; {every.lower()}",
        bars,
        _names(figures.largest, parts, bars),
        _ticks(parts, formats),
        [formats.number(number * step) for number in range(3)],
    )
    legend = write_legend(("l", "delivered"), ("a", "opened by people"), ("c", "clicked by people"))
    rows = [(label, *(formats.number(value) for value in bar[1:])) for label, bar in zip(labels, bars, strict=True)]
    table = write_figures(("from" if size > 1 else "day", "delivered", "opened by people", "clicked by people"), rows)
    lead = "E-mails by the day of their delivery, and what people did with them since."
    return Section("days", every, lead, f'{legend}<div class="plot">{chart}</div>{table}')


def _names(largest: Sequence[Mailing], parts: Sequence[Period], bars: Sequence[Bar]) -> list[Mark]:
    """Return the names of the largest mailings at their bars: highest bars first, at a distance from each other."""
    best: dict[int, Mailing] = {}
    for mailing in largest:
        index = (mailing.day - parts[0].first).days // parts[0].days
        if index >= 0 and (index not in best or mailing.delivered > best[index].delivered):
            best[index] = mailing
    chosen: list[Mark] = []
    highest = max(bar.delivered for bar in bars)
    for index in sorted(best, key=lambda index: bars[index].delivered, reverse=True):
        is_apart = all(abs(index - mark.bar) >= NAME_DISTANCE * len(bars) for mark in chosen)
        around = bars[max(0, index - len(bars) // 10) : index + len(bars) // 10 + 1]
        is_highest = all(bar.delivered <= bars[index].delivered for bar in around)
        if is_apart and is_highest and bars[index].delivered >= NAME_SHARE * highest and len(chosen) < NAMES:
            chosen.append(Mark(index, shorten(best[index].name)))
    return chosen


def _ticks(parts: Sequence[Period], formats: Formats) -> list[Mark]:
    """Return the dates below the bars: every week, the 1st and 15th of the months, or the 1st of at most 12 months."""
    days = (parts[-1].last - parts[0].first).days
    if days <= 31:
        marked = list(range(0, len(parts), 7))
    else:
        starts = (1, 15) if days <= 130 else (1,)
        marked = [number for number, part in enumerate(parts) if any(part.has_day_of_month(day) for day in starts)]
        marked = marked[:: -(-len(marked) // 12) or 1]
    return [Mark(number, formats.short_day(parts[number].first)) for number in marked if number < 0.96 * len(parts)]


def shorten(name: str) -> str:
    """Return a name of at most MAX_NAME characters.

    >>> shorten("x" * 40)[-3:]
    'xx…'
    """
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1].rstrip()}…"


def show_funnel(figures: Figures, formats: Formats) -> Section:
    """Return the steps from sending to the order."""
    sums = figures.sum(figures.period)
    steps = [
        ("sent", sums.attempted),
        ("delivered", sums.delivered),
        ("opened by a person", sums.human_opened),
        ("clicked by a person", sums.human_clicked),
    ]
    if figures.source.has_site:
        steps.append(("ordered", round(sums.conversions)))
    rows = []
    for (name, value), (_, before) in zip(steps, [("", 0), *steps], strict=False):
        # A model that credits deliveries or opens can lead to more orders than clicks.
        share = f"{formats.share(value / before, 1)} of the step before" if before and value <= before else ""
        cells = f'<td class="q">{share}</td><td class="n s">{formats.number(value)}</td>'
        bar = f'<div><div class="a" style="width:{100 * value / max(sums.attempted, 1):.1f}%"></div></div>'
        rows.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
        rows.append(f'<tr aria-hidden="true"><td colspan="3" class="track">{bar}</td></tr>')
    title = "From sending to the order" if figures.source.has_site else "From sending to the click"
    table = f'<table class="funnel">{"".join(rows)}</table>'
    return Section("funnel", title, "E-mails of the period; each step as a share of the one before.", table)


def show_machines(figures: Figures, formats: Formats) -> Section | None:
    """Return how many of the opened e-mails only machines opened, by month."""
    sums = figures.sum(figures.period)
    if not sums.opened:
        return None
    share = machine_share(sums.opened, sums.human_opened)
    title = "Opens by people and by machines"
    if share is not None:
        title = f"{formats.share(share)} of the opened e-mails only machines opened"
    stacks = []
    for month in periods.months(figures.period):
        opened, people = (one := figures.sum(month)).opened, one.human_opened
        if not opened:
            continue
        part, label = formats.share((opened - people) / opened), formats.month(month.first)
        text = f"{label}: {formats.number(people)} opened by people, {formats.number(opened - people)} by machines"
        stacks.append(Stack(f"{text}, {part}", label, people, opened - people, part))
    rows = [(one.label, formats.number(one.people), formats.number(one.machines), one.share) for one in stacks]
    legend = write_legend(("a", "people"), ("c", "machines only, with their share"))
    chart = charts.draw_stacks("Stacks of the e-mails opened by people and by machines only, by month", stacks)
    lead = (
        "Privacy proxies and scanners load images too. Counting all, "
        f"{formats.share(sums.opened / max(sums.delivered, 1), 1)} of the e-mails of the period were opened; "
        f"by people, {formats.share(sums.human_opened / max(sums.delivered, 1), 1)}."
    )
    table = write_figures(("month", "people", "machines only", "their share"), rows)
    return Section("machines", title, lead, f"{legend}{chart}{table}")


def show_hours(figures: Figures, formats: Formats) -> Section | None:
    """Return when people open, by weekday and hour."""
    if not figures.hours:
        return None
    peak, title = busiest_time(figures.hours), "When people open"
    if peak:
        on = f" on {WEEKDAYS[peak.weekday - 1]}" if peak.weekday else ""
        at = "" if peak.hour is None else f" at {formats.hour(peak.hour)}"
        title = f"People open most{on}{at}"
    most = max(figures.hours.values())
    rows = []
    for weekday in range(1, 8):
        cells = []
        for hour in range(24):
            opens = figures.hours.get((weekday, hour), 0)
            text = formats.number(opens)
            cells.append(f'<td class="h{-(-LEVELS * opens // most)}" title="{text}"><i>{text}</i></td>')
        rows.append(f'<tr><th scope="row">{escape(formats.weekday(weekday))}</th>{"".join(cells)}</tr>')
    hours = "".join(f'<th scope="colgroup" colspan="6">{formats.hour(hour)}</th>' for hour in range(0, 24, 6))
    place = figures.source.zone.rpartition("/")[2].replace("_", " ")
    lead = f"First opens by people, by weekday and hour in {escape(place)}."
    table = f'<table class="heat"><tbody>{"".join(rows)}</tbody><tfoot><tr><td></td>{hours}</tr></tfoot></table>'
    return Section("hours", title, lead, table)
