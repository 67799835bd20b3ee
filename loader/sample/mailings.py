"""Generate the mailings of the sample's year: newsletters, sent in a burst, and journeys, sent every day."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from math import isqrt

import numpy as np

from loader.sample.random_draws import choose, integers

#: Times are milliseconds since 1970, in UTC.
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY
WEEKDAY_OF_1970 = 3  # a Thursday, counted from Monday

#: (language, segment, name, new name, day of renaming or 0, first minute, minutes, among, ((subject, % share), …))
JOURNEYS = (
    (
        "en", "new", "Welcome", "Welcome series", 131, 360, 900, 1,
        (("Welcome! Here is 10 % off", 6), ("Three things our customers love", 4), ("How did we do so far?", 3)),
    ),
    ("fr", "all", "Anniversaire", "Anniversaire", 0, 480, 20, 1, (("Joyeux anniversaire 🎂", 4),)),
    (
        "en", "buyers", "Abandoned cart", "Cart reminder", 244, 420, 960, 3,
        (("You left something behind", 8), ("Your cart expires tonight ⏳", 5)),
    ),
)  # fmt: skip

#: (language, segment, name, subject, subject of the reminder two days later or "")
THEMES = (
    ("en", "all", "Newsletter", "New this week: our favourites", ""),
    ("fr", "vip", 'Vente privée "Été"', "Votre accès à la vente privée ☀️", "Dernières heures : vente privée"),
    ("nl", "all", "Nieuwsbrief", "Nieuw binnen deze week", ""),
    ("en", "buyers", "Weekend sale", "48 hours only: up to 40 % off 🔥", "Last call: the sale ends tonight"),
    ("fr", "all", "La sélection", "L'été à prix doux, c'est maintenant", ""),
    ("de", "all", "Angebote der Woche", "Die schönsten Angebote für Sie", ""),
    ("en", "vip", "Back in stock", 'They are back: the "Oslo" chairs', ""),
    ("fr", "buyers", "Café & crème", "Une tasse offerte dès 30 € ☕", ""),
    ("nl", "buyers", "Outlet", "Laatste maten, laatste kans", "Nog één dag outlet"),
)

#: (link_id, link_name, path). A mailing has the first ones.
LINKS = (
    ("01", "Main button", ""),
    ("02", "Header image", "home"),
    ("03", "Product tile", "p/4711"),
    ("04", "Terms", "terms"),
    ("05", "Find a shop", "shops"),
    ("06", 'Tile "Oslo"', "p/oslo-chair"),
)
LISTS = (("12", "Newsletter"), ("15", "Offers & promotions"))


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign with a permanent id, and another name from `renamed_at` on."""

    campaign_id: str
    name: str
    renamed: str
    renamed_at: int
    language: str
    segment: str


@dataclass(frozen=True, slots=True)
class Mailing:
    """One e-mail of a campaign, sent on each of `days` days within `minutes` after `begin`."""

    campaign: Campaign
    email_id: str
    subject: str
    begin: int
    days: int
    minutes: int
    weight: int
    links: int
    among: int = 1  #: sent to one recipient in so many, repeatedly if necessary
    scored: bool = False


def year_start(until: date) -> int:
    """Return when the year of 365 days begins whose last day is `until`.

    >>> year_start(date(2025, 12, 31)) == 1_735_689_600_000  # 1 January 2025
    True
    """
    return (until - date(1970, 1, 1)).days * DAY + DAY - YEAR


def draw_mailings(rng: np.random.Generator, events: int, start: int) -> list[Mailing]:
    """Return the mailings of the year from `start` for a number of events: seven messages in ten are newsletters."""
    bulk = list(newsletters(rng, 4 + isqrt(events) // 6, start))
    share = sum(mailing.weight for mailing in bulk) / 70
    return [*journeys(share, start), *bulk]


def journeys(share: float, start: int) -> Iterator[Mailing]:
    """Yield mailings sent every day of the year. Opens of the first journey have a score."""
    for number, (language, segment, name, renamed, day, begin, minutes, among, mails) in enumerate(JOURNEYS):
        renamed_at = start + day * DAY if day else start + YEAR
        campaign = Campaign(str(10_412 + 9 * number), name, renamed, renamed_at, language, segment)
        for step, (subject, percent) in enumerate(mails, 1):
            email_id = f"{campaign.campaign_id}{step:02}"
            weight = round(percent * share)
            yield Mailing(
                campaign, email_id, subject, start + begin * MINUTE, 365, minutes, weight, 4, among, number == 0
            )


def newsletters(rng: np.random.Generator, count: int, start: int) -> Iterator[Mailing]:
    """Yield mailings of one to three hours on working days, some with a reminder two days later."""
    hours = choose(rng, count, (7, 8, 9, 9, 10, 10, 11, 14, 16, 17)).tolist()
    minutes, weights = integers(rng, count, 121).tolist(), integers(rng, count, 61).tolist()
    for number, (hour, duration, extra) in enumerate(zip(hours, minutes, weights, strict=True)):
        day = working_day((2 * number + 1) * 365 // (2 * count), start)
        campaign, subject, reminder = newsletter(number, start + day * DAY)
        begin, weight, links = start + day * DAY + hour * HOUR, 40 + extra, 3 + number % 4
        yield Mailing(campaign, f"{campaign.campaign_id}01", subject, begin, 1, 60 + duration, weight, links)
        if reminder:
            begin = min(begin + 2 * DAY, start + YEAR - DAY + hour * HOUR)
            yield Mailing(campaign, f"{campaign.campaign_id}02", reminder, begin, 1, 60, weight // 2, links)


def newsletter(number: int, sent: int) -> tuple[Campaign, str, str]:
    """Return the campaign of a day, its subject and that of its reminder; one in six is renamed after sending."""
    language, segment, theme, subject, reminder = THEMES[number % len(THEMES)]
    name = f"{theme} {date(1970, 1, 1) + timedelta(sent // DAY)}"
    renamed, renamed_at = (f"{name} (sent)", sent + DAY) if number % 6 == 2 else (name, sent + YEAR)
    return Campaign(str(20_418 + 13 * number), name, renamed, renamed_at, language, segment), subject, reminder


def working_day(day: int, start: int) -> int:
    """Return the last working day up to a day of the year, both counted from 0, but none before the year.

    >>> [working_day(day, year_start(date(2025, 12, 31))) for day in (1, 2, 3, 4, 5)]  # the year began on a Wednesday
    [1, 2, 2, 2, 5]
    >>> [working_day(day, year_start(date(2026, 1, 3))) for day in (0, 1, 2)]  # on a Saturday
    [0, 0, 2]
    """
    weekday = (start // DAY + WEEKDAY_OF_1970 + day) % 7
    return max(0, day - max(0, weekday - 4))


def compact(value: object) -> str:
    """Return compact JSON, with non-ASCII characters unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def members(value: dict[str, object]) -> str:
    """Return a JSON object without its braces."""
    return compact(value)[1:-1]


def properties(mailing: Mailing) -> list[str]:
    """Return six variants of a mailing's properties: old, then new name, each with subject, null, none."""
    campaign = mailing.campaign
    audience: dict[str, object] = {"audience": {"segment": campaign.segment, "language": campaign.language}}
    if campaign.segment == "buyers":
        audience["categories"] = ["home", "kitchen"] if mailing.links > 4 else ["home"]
    subjects: tuple[dict[str, object], ...] = ({"email_subject": mailing.subject}, {"email_subject": None}, {})
    names = ({"campaign_id": campaign.campaign_id, "campaign_name": name} for name in (campaign.name, campaign.renamed))
    return [
        members({**name, "email_id": mailing.email_id, **subject, **audience}) for name in names for subject in subjects
    ]


def links(mailing: Mailing) -> list[str]:
    """Return the properties of a click on each link of a mailing."""
    site = f"https://www.shop.example/{mailing.campaign.language}"
    return [
        members({"link_id": link_id, "link_name": name, "link_url": f"{site}/{path}?utm_campaign={mailing.email_id}"})
        for link_id, name, path in LINKS[: mailing.links]
    ]


def subscription(mailing: Mailing) -> str:
    """Return the properties of an unsubscription from the list of a mailing."""
    list_id, name = LISTS[mailing.campaign.segment != "all"]
    return members({"list_id": list_id, "list_name": name})
