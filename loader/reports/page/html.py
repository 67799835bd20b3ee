"""Write a report as one HTML page, without scripts and without anything to fetch.

The layout is a grid of cards. Where a mail client knows no grid, the cards follow each other; where it removes SVG, the
tables of the charts remain. Colours are written out, because some clients know no variables.
"""

from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from pathlib import Path

from loader.reports.page.figures import Figures
from loader.reports.page.formats import Formats
from loader.reports.page.section_charts import show_days, show_funnel, show_hours, show_machines
from loader.reports.page.section_tables import show_campaigns, show_domains, show_links, show_models
from loader.reports.page.tables import Section
from loader.reports.page.totals import show_totals

#: The views that have the figures; the last one is left out without data of a site.
VIEWS = ("campaign_days", "email_messages", "mailbox_domain_days", "link_days", "attributed_revenue_days")
DASH = "\u2013"
#: Columns of a row's cards, of twelve.
HALVES, UNEVEN, WHOLE = (6, 6), (5, 7), (12,)


def write_page(figures: Figures, locale: str) -> str:
    """Return the page. Raises UsageError for an unknown locale."""
    formats = Formats(locale, figures.source.currency)
    title = figures.campaign_name or "E-mail report"
    rows = "".join(_write_row(sections) for sections in _arrange(figures, formats))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n"
        f'<div class="page">\n{_write_header(figures, formats, title)}<main>\n{show_totals(figures, formats)}{rows}'
        f"</main>\n{_write_footer(figures, formats)}</div>\n</body>\n</html>\n"
    )


@cache
def _style() -> str:
    return Path(__file__).with_name("report.css").read_text("utf-8")


def _arrange(figures: Figures, formats: Formats) -> list[list[Section]]:
    """Return the rows of sections: two beside each other, apart from the first ones."""

    def show(*functions: Callable[[Figures, Formats], Section | None]) -> list[Section]:
        return [section for function in functions if (section := function(figures, formats))]

    rows = [show(show_days), show(show_campaigns), show(show_funnel, show_machines)]
    others = show(show_hours, show_domains, show_models, show_links)
    return [row for row in (*rows, others[:2], others[2:]) if row]


def _write_row(sections: Sequence[Section]) -> str:
    spans = WHOLE if len(sections) == 1 else HALVES if sections[0].name == "hours" else UNEVEN
    cards = "".join(
        f'<section class="card s{span}" aria-labelledby="{section.name}">\n'
        f'<h2 id="{section.name}">{escape(section.title)}</h2>\n<p class="lead">{section.lead}</p>\n{section.body}\n'
        "</section>\n"
        for section, span in zip(sections, spans, strict=True)
    )
    return f'<div class="grid">\n{cards}</div>\n'


def _write_header(figures: Figures, formats: Formats, title: str) -> str:
    period = figures.period
    days = "1 day" if period.days == 1 else f"{formats.number(period.days)} days"
    before = f", compared with the {days} before" if figures.is_compared else ""
    text = f"{formats.day(period.first)} {DASH} {formats.day(period.last)}, {days}{before}"
    return (
        f'<header>\n<div><h1>{escape(title)}</h1>\n<p class="period">{escape(text)}</p></div>\n'
        f'<p class="source">source {escape(figures.schema)}<br>'
        f"loaded until {escape(formats.moment(figures.source.loaded_until))}</p>\n</header>\n"
    )


def _write_footer(figures: Figures, formats: Formats) -> str:
    source = figures.source
    text = f"From {formats.number(source.events)} events"
    if figures.identified is not None:
        text += f", of which {formats.share(figures.identified)} could be given to a known user"
    views = VIEWS if source.has_site else VIEWS[:-1]
    return (
        f"<footer>\n<p>{text}. A change of a rate is coloured if it is larger than chance explains. The figures are "
        f"those of the views {', '.join(views[:-1])} and {views[-1]}.</p>\n"
        '<p class="product">selligent-loader</p>\n</footer>\n'
    )
