"""The figures at the top of a report: each with its change and its course."""

from collections.abc import Sequence

from loader.reports.page import periods
from loader.reports.page.charts import draw_course
from loader.reports.page.figures import Figures, Sums
from loader.reports.page.findings import has_changed
from loader.reports.page.formats import Formats

#: Column of `Sums`, title, decimal digits, and whether more is better (1) or worse (-1).
RATES = (
    ("human_opened", "Open rate, people", 1, 1),
    ("human_clicked", "Click rate, people", 2, 1),
    ("unsubscribed", "Unsubscribed", 2, -1),
)


def show_totals(figures: Figures, formats: Formats) -> str:
    """Return the card of the figures: deliveries, rates, and the revenue if there are data of the site.

    Changes of sums are coloured, those of rates only if they are larger than chance explains.
    """
    now = figures.sum(figures.period)
    before = figures.sum(figures.period.before) if figures.is_compared else Sums()
    course = [figures.sum(part) for part in periods.course(figures.period)]
    change = _change_of_sum(now.delivered, before.delivered, formats)
    totals = [_write("Delivered", formats.short_number(now.delivered), change, [part.delivered for part in course])]
    for column, title, digits, better in RATES:
        text = formats.share(_rate(now, column), digits)
        change = _change_of_rate(now, before, column, better, formats)
        totals.append(_write(title, text, change, [_rate(part, column) for part in course]))
    if figures.source.has_site:
        change = _change_of_sum(float(now.revenue), float(before.revenue), formats)
        text = formats.short_money(now.revenue)
        totals.append(_write("Revenue", text, change, [float(part.revenue) for part in course]))
    return f'<section class="card totals t{len(totals)}" aria-label="Totals">\n{"".join(totals)}</section>\n'


def _change_of_sum(now: float, before: float, formats: Formats) -> str:
    if before <= 0:
        return _write_change("", 0)
    change = now / before - 1
    return _write_change(formats.change(change, formats.share(abs(change))), change)


def _change_of_rate(now: Sums, before: Sums, column: str, better: int, formats: Formats) -> str:
    if not before.delivered or not now.delivered:
        return _write_change("", 0)
    change = _rate(now, column) - _rate(before, column)
    is_certain = has_changed(*((getattr(sums, column), sums.delivered) for sums in (now, before)))
    text = formats.change(change, f"{formats.number(abs(100 * change), 2)} points")
    return _write_change(text, better * change if is_certain else 0)


def _rate(sums: Sums, column: str) -> float:
    return float(getattr(sums, column)) / max(sums.delivered, 1)


def _write_change(text: str, tone: float) -> str:
    kind = "better" if tone > 0 else "worse" if tone < 0 else "even"
    return f'<p class="change {kind}">{text or "&nbsp;"}</p>'


def _write(title: str, text: str, change: str, course: Sequence[float]) -> str:
    value = f'<p class="what">{title}</p><p class="value">{text}</p>'
    return f'<div class="total">{value}{change}{draw_course(course)}</div>\n'
