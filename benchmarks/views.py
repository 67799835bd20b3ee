"""The views: a dashboard's questions against the same asked of the tables of events, and the upkeep after a load."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path
from statistics import median

import psycopg

from benchmarks.loading import empty, execute, load_file
from loader.config import Settings
from loader.postgres.connection import Warehouse
from loader.postgres.embedded_programs import find_wheel
from loader.reports.page.figures import Scope, read_figures
from loader.reports.page.html import write_page
from loader.sample import ndjson, site
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from loader.views.settings import change_setting

SITE = "bench_site"
PAGE_VIEWS = 5_000_000  # at most
PART = 1_000_000  # events of a file of the load before
NIGHT, NIGHTS = 100_000, 10
#: Events of the smaller loads after the nights.
BATCHES = (1_000, 1, 1)
#: Settings that are changed in the end: of the credits, the days, the visits and the rules.
CHANGES = {
    "window_last_human_click": "4 days",
    "default_model": "last_click",
    "reporting_time_zone": "Europe/Brussels",
    "visit_window": "6 days",
    "burst_links": "4",
}
#: Bytes of the figures and of the tables of events, indexes included.
SIZES = """
    select sum(pg_total_relation_size(oid)) filter (where starts_with(relname, 'stored_'))::bigint,
        sum(pg_total_relation_size(oid)) filter (where relnamespace = %s::regnamespace)::bigint
    from pg_class where relnamespace in (%s::regnamespace, %s::regnamespace) and relkind = 'r'
"""
#: A question of the views, and the same of the tables of events, in which machines count as people.
QUESTIONS = {
    "campaigns of the last 30 days": (
        """
        select campaign_id, campaign_name, delivered, opened, clicked, open_rate from campaigns
        where last_delivered_at > '2025-12-01' order by delivered desc
        """,
        """
        with delivered as (
            select distinct campaign_id, coalesce(user_id, anonymous_id) as person from email_delivered
            where "timestamp" > '2025-12-01'
        )
        select delivered.campaign_id, count(*), count(opened.person), count(clicked.person)
        from delivered
        left join (select distinct campaign_id, coalesce(user_id, anonymous_id) as person from email_opened) as opened
            using (campaign_id, person)
        left join (
            select distinct campaign_id, coalesce(user_id, anonymous_id) as person from email_link_clicked
        ) as clicked using (campaign_id, person)
        group by campaign_id order by 2 desc
        """,
    ),
    "a campaign's days": (
        "select * from campaign_days where campaign_id = {campaign} order by delivery_day",
        """
        select "timestamp"::date, count(*) from email_delivered where campaign_id = {campaign} group by 1 order by 1
        """,
    ),
    "a campaign's funnel": (
        "select step, people from campaign_funnel where campaign_id = {campaign} order by step_number",
        """
        with delivered as (
            select distinct coalesce(user_id, anonymous_id) as person from email_delivered
            where campaign_id = {campaign}
        ), clicked as (
            select coalesce(user_id, anonymous_id) as person, min("timestamp") as at from email_link_clicked
            where campaign_id = {campaign} group by 1
        ), visited as (
            select distinct person from clicked join {site}.pages on user_id = person and "timestamp" >= at
        )
        select count(*), count(clicked.person), count(visited.person)
        from delivered left join clicked using (person) left join visited using (person)
        """,
    ),
    "a campaign's links": (
        "select link_name, clicks, people, share from links where campaign_id = {campaign} order by clicks desc",
        """
        select link_id, count(*), count(distinct coalesce(user_id, anonymous_id)) from email_link_clicked
        where campaign_id = {campaign} group by link_id order by 2 desc
        """,
    ),
    "top recipients": (
        "select person, human_clicked, revenue from recipients order by revenue desc limit 20",
        """
        select coalesce(user_id, anonymous_id), count(*) from email_link_clicked group by 1 order by 2 desc limit 20
        """,
    ),
    "revenue by campaign": (
        "select campaign_name, conversions, revenue from campaigns order by revenue desc",
        """
        with clicks as (
            select user_id, campaign_id, "timestamp" as at from email_link_clicked
        ), credited as (
            select distinct on (orders.id) orders.id, orders.revenue, clicks.campaign_id
            from {site}.order_completed as orders join clicks on clicks.user_id = orders.user_id
                and clicks.at between orders."timestamp" - interval '5 days' and orders."timestamp"
            order by orders.id, clicks.at desc
        )
        select campaign_id, count(*), sum(revenue) from credited group by 1 order by 3 desc
        """,
    ),
}


def prepare(settings: Settings, folder: Path, events: int) -> Iterator[Path]:
    """Load events and the site's data; yield files of the nights after that, and of the smaller batches."""
    path = folder / "part.jsonl"
    store_site(settings, folder, events)
    empty(settings)
    with closing(Warehouse(settings)) as warehouse:
        change_setting(warehouse, "segment_schemas", SITE)
    batches = (*(NIGHTS * [NIGHT]), *BATCHES)
    lines = sample_lines(events)
    before = events - sum(batches)
    for count in (*(before // PART * [PART]), before % PART):
        load_file(settings, write_lines(path, lines, count))
    for count in batches:
        yield write_lines(path, lines, count)


def store_site(settings: Settings, folder: Path, events: int) -> None:
    """Store the site's data with as many page views as events, within the limit."""
    script = folder / "site.sql"
    with script.open("wb") as stream:
        for block in site.script(min(events, PAGE_VIEWS), 1, SITE):
            stream.write(block)
    psql = find_wheel() / "pginstall/bin/psql"
    execute(settings, f"drop schema if exists {SITE} cascade")
    subprocess.run([psql, "-q", "-f", str(script), settings.database_url or ""], check=True, stdout=subprocess.DEVNULL)
    script.unlink()


def sample_lines(events: int) -> Iterator[bytes]:
    """Yield the lines of so many sample events."""
    return (line for block in ndjson.lines(events, 1) for line in block.splitlines(keepends=True))


def write_lines(path: Path, lines: Iterator[bytes], count: int) -> Path:
    """Write the next lines to a file, and return it."""
    with path.open("wb") as stream:
        stream.writelines(islice(lines, count))
    return path


def compare_views(settings: Settings, folder: Path, events: int, rounds: int) -> Iterator[tuple[str, str, str]]:
    """Yield what the first refresh, each question, refreshes after loads of several sizes and settings take."""
    behind = f"views, {events / 1_000_000:,.0f} million events"
    files = prepare(settings, folder, events)
    night = next(files)
    yield f"{behind}: first refresh", f"{seconds(lambda: refresh(settings)):,.0f} s", ""
    yield f"{behind}: disk of the figures", *_disk(settings)
    ((campaign,),) = ask(settings, "select campaign_id from campaigns order by delivered desc limit 1 offset 5")
    names = {"campaign": f"'{campaign}'", "site": SITE}
    for question, (by_views, by_events) in QUESTIONS.items():
        quick = median(seconds(partial(ask, settings, by_views.format(**names))) for _ in range(rounds))
        slow = seconds(partial(ask, settings, by_events.format(**names)))
        yield f"{behind}: {question}", f"{quick * 1000:,.1f} ms", f"{slow / quick:,.0f} times as fast as of the events"
    report = median(seconds(partial(write_report, settings)) for _ in range(rounds))
    yield f"{behind}: report of 90 days", f"{report:,.2f} s", ""
    nights = []
    for path in chain([night], islice(files, NIGHTS - 1)):
        load_file(settings, path)
        nights.append(seconds(lambda: refresh(settings)))
    spread = f"{min(nights):,.1f} to {max(nights):,.1f} s"
    yield f"{behind}: refresh after a night of {NIGHT:,}, {NIGHTS} nights", f"{median(nights):,.1f} s", spread
    yield f"{behind}: disk of the figures after these nights", *_disk(settings)
    for batch, path in zip(BATCHES, files, strict=True):
        load_file(settings, path)
        yield f"{behind}: refresh after {batch:,}", f"{seconds(lambda: refresh(settings)):,.2f} s", ""
    yield f"{behind}: full refresh", f"{seconds(lambda: refresh(settings, full=True)):,.1f} s", ""
    for name, value in CHANGES.items():
        with closing(Warehouse(settings)) as warehouse:
            change_setting(warehouse, name, value)
        yield f"{behind}: refresh after {name} changed", f"{seconds(lambda: refresh(settings)):,.1f} s", ""


def write_report(settings: Settings) -> None:
    """Read the figures of a report and write its page, as the command does."""
    with open_warehouse(settings) as warehouse:
        write_page(read_figures(warehouse, Scope()), "en_GB")


def compare_whole(settings: Settings, folder: Path, events: int, rounds: int) -> Iterator[tuple[str, str, str]]:
    """Yield the rate of loads into an empty warehouse with the refresh after them."""
    path = write_lines(folder / "part.jsonl", sample_lines(events), events)
    shares = []
    for _ in range(rounds):
        empty(settings)
        alone = load_file(settings, path).seconds
        shares.append(alone / (alone + seconds(lambda: refresh(settings))))
    yield (
        f"load and refresh of {events:,} events into empty tables",
        f"{median(shares):.2f} of the rate of the load",
        "",
    )


def _disk(settings: Settings) -> tuple[str, str]:
    with psycopg.connect(settings.database_url or "") as connection:
        ((stored, events),) = connection.execute(SIZES, [settings.schema, settings.schema, settings.ops]).fetchall()
    return f"{stored / 1e6:,.0f} MB", f"{stored / events:.2f} of the tables of events"


def ask(settings: Settings, question: str) -> list[tuple[object, ...]]:
    with psycopg.connect(settings.database_url or "") as connection:
        connection.execute(f"set search_path to {settings.schema}".encode())
        return connection.execute(question.encode()).fetchall()


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
