"""The sections of a report that are tables: each takes the figures, and returns None if it is left out."""

from html import escape

from loader.reports.page.figures import Figures
from loader.reports.page.findings import is_mostly_machines, worst_domain
from loader.reports.page.formats import Formats
from loader.reports.page.tables import Section, draw_bar, write_head, write_row


def show_campaigns(figures: Figures, formats: Formats) -> Section | None:
    """Return the table of the campaigns that sold most, or of those with the most deliveries."""
    campaigns = [row for row in figures.campaigns if row.revenue > 0]
    with_site = len(campaigns) > 1
    campaigns = campaigns if with_site else sorted(figures.campaigns, key=lambda row: row.delivered, reverse=True)
    if len(campaigns) < 2:
        return None
    default = next((model for model in figures.models if model.is_default), None)
    opened, clicked = (max(rates) for rates in zip(*(row.rates for row in campaigns), strict=True))
    revenue = max(float(row.revenue) for row in campaigns)
    digits = 0 if revenue >= 100 else 2
    columns = [("", "campaign"), ("n w", "delivered"), ("n", "opened"), ("b w", ""), ("n", "clicked"), ("b w", "")]
    columns += [("n w u", "unsubscribed")]
    columns += [("n w", "orders"), ("n", "revenue"), ("b w", ""), ("n w", "per 1,000")] if with_site else []
    rows = []
    for row in campaigns:
        name = escape(row.name or row.campaign_id or "without a campaign")
        cells = [
            ("n w", formats.number(row.delivered)),
            ("n s", formats.share(row.rates[0], 1)),
            ("b w", draw_bar(row.rates[0], opened, "l")),
            ("n s", formats.share(row.rates[1], 1)),
            ("b w", draw_bar(row.rates[1], clicked, "l")),
            ("n w u q", formats.share(row.unsubscribed / row.delivered, 2)),
        ]
        if with_site:
            cells += [
                ("n w", formats.number(row.conversions, 1)),
                ("n s", formats.money(row.revenue, digits)),
                ("b w", draw_bar(float(row.revenue), revenue)),
                ("n w q", formats.money(1000 * row.revenue / row.delivered, digits)),
            ]
        rows.append(write_row(f'<span class="cut" title="{name}">{name}</span>', cells))
    lead = "Opens and clicks of people"
    if with_site and default:
        lead += f"; orders and revenue credited by {escape(name_model(default.name))} within {escape(default.window)}"
    table = f'<table class="rows campaigns">{write_head(columns)}<tbody>{"".join(rows)}</tbody></table>'
    title = "Campaigns that sold most" if with_site else "Campaigns with the most e-mails"
    return Section("campaigns", title, f"{lead}.", table)


def name_model(model: str) -> str:
    """Return how a sentence names an attribution model.

    >>> name_model("last_human_click"), name_model("linear_clicks")
    ('the last human click', 'linear clicks')
    """
    return f"{'the ' if model.startswith('last_') else ''}{model.replace('_', ' ')}"


def show_domains(figures: Figures, formats: Formats) -> Section | None:
    """Return whether mailbox providers take the e-mails, and who opens there."""
    if not figures.domains:
        return None
    worst = worst_domain([(row.name, row.bounced, row.attempted) for row in figures.domains])
    title = f"E-mails to {worst} bounce most" if worst else "Mailbox providers"
    lead = "Whether they take the e-mails, and who opens there: all, and people."
    rows = []
    for row in figures.domains:
        is_machine = is_mostly_machines(row.opened, row.human_opened)
        dot = ' <i class="dot c" role="img" aria-label="mostly opened by machines"></i>' if is_machine else ""
        if dot and "dot" not in lead:
            lead += ' <i class="dot c" aria-hidden="true"></i> mostly opened by machines.'
        whole = max(row.delivered, 1)
        rows.append(
            write_row(
                f'<span class="cut{" dotted" if dot else ""}">{escape(row.name)}</span>{dot}',
                [
                    ("n", formats.number(row.attempted)),
                    ("n", formats.share(row.bounced / row.attempted, 2)),
                    ("n w", formats.number(row.complained)),
                    ("n q w", formats.share(row.opened / whole)),
                    ("n", formats.share(row.human_opened / whole)),
                ],
            )
        )
    columns = [("", "domain"), ("n", "sent"), ("n", "bounced"), ("n w", "spam"), ("n w", "opened"), ("n", "by people")]
    table = f'<table class="rows domains">{write_head(columns)}<tbody>{"".join(rows)}</tbody></table>'
    return Section("domains", title, lead, table)


def show_models(figures: Figures, formats: Formats) -> Section | None:
    """Return the revenue that each attribution model credits to e-mails."""
    most = max((float(model.revenue) for model in figures.models), default=0)
    if most <= 0:
        return None
    rows = []
    for model in figures.models:
        width = f"{77 * max(float(model.revenue), 0) / most:.1f}"
        kind, mark = ("a", ' class="s"') if model.is_default else ("l", "")
        rows.append(
            f'<tr{mark}><th scope="row">{escape(model.name.replace("_", " "))}</th><td>'
            f'<span class="bar {kind}" style="width:{width}%"></span>{formats.money(model.revenue)}</td></tr>'
        )
    lead = (
        "Orders made in the period, by attribution model. The rest of the page goes by the dark one and the day of "
        "delivery."
    )
    return Section("models", "Whose credit?", lead, f'<table class="models">{"".join(rows)}</table>')


def show_links(figures: Figures, formats: Formats) -> Section | None:
    """Return the links that people click most."""
    if not figures.links:
        return None
    most = max(link.human_clicks for link in figures.links)
    rows = []
    for link in figures.links:
        name = escape(link.name or "a link without a name")
        full = name if figures.campaign_name else f'{name} <span class="q">· {escape(link.campaign)}</span>'
        rows.append(
            write_row(
                f'<span class="cut" title="{name} · {escape(link.campaign)}">{full}</span>',
                [
                    ("n s", formats.number(link.human_clicks)),
                    ("b w", draw_bar(link.human_clicks, most, width=108)),
                    ("n q", formats.number(link.clicks - link.human_clicks)),
                ],
            )
        )
    columns = [("", "link"), ("n", "clicks of people"), ("b w", ""), ("n", "of machines")]
    table = f'<table class="rows links">{write_head(columns)}<tbody>{"".join(rows)}</tbody></table>'
    lead = "Clicks of people; scanners that follow every link are counted apart."
    return Section("links", "Links people follow", lead, table)
