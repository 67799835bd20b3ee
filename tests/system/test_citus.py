"""A Citus cluster: tables are spread, found out by themselves, watched, and right whatever happens to a worker.

These tests need a cluster, named by SELLIGENT_TEST_CITUS_URL. With it, all other tests use distributed tables too.
"""

import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from loader.api import load as load_and_refresh
from loader.cli.main import run
from loader.config import Settings
from loader.crash_points import Step
from loader.migrate import migrate
from loader.monitoring.freshness import read_counts, read_days, read_freshness
from loader.pipeline import worker as loading
from loader.pipeline.load import analyze
from loader.pipeline.options import Options
from loader.schema.distribution import distribute_tables, wait_for_workers
from loader.schema.source import open_warehouse
from loader.views.refresh import refresh
from tests.conftest import CITUS
from tests.support.citus import on_node, workers
from tests.support.crash_points import at
from tests.support.loading import content, event, load_bytes, load_events, load_file, ndjson, one, select
from tests.system.test_crash import INSTALLED

pytestmark = pytest.mark.skipif(not CITUS, reason="no Citus cluster: SELLIGENT_TEST_CITUS_URL is not set")

DISTRIBUTED = """
    select relname, column_to_column_name(logicalrelid, partkey) as column, colocationid
    from pg_dist_partition join pg_class on pg_class.oid = logicalrelid
    where relnamespace = %s::regnamespace order by relname
"""


@pytest.fixture
def local(settings: Settings) -> Settings:
    """A source in the same database whose tables are not distributed."""
    source = replace(settings, schema="local")
    migrate(source)
    return source


@pytest.fixture
def worker(settings: Settings) -> Iterator[psycopg.Connection]:
    """A session on a worker, in the database of the test."""
    name = str(conninfo_to_dict(settings.database_url or "")["dbname"])
    with psycopg.connect(on_node(str(CITUS), workers(str(CITUS))[0], name), autocommit=True) as connection:
        yield connection


def distributed(settings: Settings) -> dict[str, tuple[str, int]]:
    rows = select(settings, DISTRIBUTED, settings.schema)
    return {row["relname"]: (row["column"], row["colocationid"]) for row in rows}


def test_all_event_tables_are_distributed_by_id_also_those_made_by_a_load(settings: Settings, tmp_path: Path) -> None:
    load_events(
        settings, [event(event="Coupon Used", messageId=f"c{n}", properties={"n": n}) for n in range(50)], tmp_path
    )
    names = [row["relname"] for row in select(settings, TABLES)]
    found = distributed(settings)
    assert (sorted(found), {column for column, _ in found.values()}) == (names, {"id"})
    assert len({colocation for _, colocation in found.values()}) == 1
    assert "coupon_used" in found
    assert one(settings, "select count(*), sum(n) from coupon_used") == {"count": 50, "sum": 1225}


TABLES = """
    select relname from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'uuid_ts'
    where relnamespace = 'selligent'::regnamespace and relkind = 'r' order by relname
"""


def test_a_warehouse_with_rows_is_distributed_while_it_is_loaded(local: Settings, events: Path, tmp_path: Path) -> None:
    load_and_refresh(local, [str(events)], Options())
    before, figures = content(local), select(local, "select * from campaigns order by 1, 2")
    more = ndjson(event(messageId=f"during{n}") for n in range(1000))
    thread = threading.Thread(target=lambda: load_bytes(local, more, tmp_path, "more.jsonl"))
    thread.start()
    migrate(local, is_distributed=True)
    thread.join()
    after = content(local)
    assert {
        table: len(rows) - len(before.get(table, ())) for table, rows in after.items() if rows != before.get(table)
    } == {
        "tracks": 1000,
        "email_opened": 1000,
    }
    assert set(distributed(local)) == set(after)
    sizes = (
        "select max(pg_relation_size(oid)) from pg_class where relnamespace = 'local'::regnamespace and relkind = 'r'"
    )
    assert one(local, sizes)["max"] <= 8192 * 2  # the settings; nothing of the events
    with open_warehouse(local) as warehouse:
        assert distribute_tables(warehouse) == []
    refresh(local, rebuild=True)
    assert len(select(local, "select * from campaigns order by 1, 2")) >= len(figures)
    assert select(local, "select * from load_health where not is_ok and check_name <> 'discarded values'") == []


def test_status_and_check_find_the_same_as_in_local_tables(settings: Settings, local: Settings, events: Path) -> None:
    found = []
    for source in (settings, local):
        load_file(source, events)
        with open_warehouse(source) as warehouse, warehouse.transaction():
            tables = read_freshness(warehouse)
            newest = datetime(2025, 11, 30, 12, tzinfo=UTC)
            found.append(
                [
                    (
                        table.table,
                        table.rows,
                        table.newest_event,
                        read_days(warehouse, table),
                        read_counts(warehouse, table, newest, 8),
                    )
                    for table in tables
                    if table.newest_event and table.newest_load
                ]
            )
    assert len(found[0]) > 4
    assert sorted(found[0]) == sorted(found[1])


def test_sizes_and_estimates_are_sums_of_the_shards(
    settings: Settings, events: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = load_file(settings, events)
    rows = result.tables["tracks"]
    monkeypatch.setattr("loader.monitoring.freshness.MAX_COUNTED_BYTES", 0)
    with open_warehouse(settings) as warehouse:
        assert analyze(warehouse, {"tracks": rows // 50}) == []
        assert analyze(warehouse, {"tracks": rows}) == ["tracks"]
        with warehouse.transaction():
            found = {table.table: (table.rows, table.is_estimate) for table in read_freshness(warehouse)}
    assert found["tracks"] == (rows, True)
    assert one(settings, "select count(*) from tracks") == {"count": rows}


def test_widening_says_how_much_is_rewritten(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load_events(settings, [event(messageId=f"n{n}", properties={"score": n}) for n in range(199)], tmp_path)
    load_events(settings, [event(messageId="word", properties={"score": "high"})], tmp_path, "second")
    place = ["--database-url", str(settings.database_url)]
    assert run(["widen", "email_opened", "score", *place]) == 0
    assert "about 199 rows, " in capsys.readouterr().out
    assert run(["widen", "email_opened", "score", "--yes", *place]) == 0
    found = one(
        settings,
        "select count(*), count(*) filter (where score = 'high') as high from email_opened where score is not null",
    )
    assert found == {"count": 200, "high": 1}


def test_the_data_of_a_site_is_read_from_tables_that_are_local(
    settings: Settings, events: Path, tmp_path: Path
) -> None:
    assert settings.database_url
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("create schema site")
        connection.execute("create table site.identifies (id text, user_id text, email text, received_at timestamptz)")
    migrate(settings, ["site"])
    load_and_refresh(settings, [str(events)], Options())
    assert one(settings, "select count(*) > 0 as found from campaigns") == {"found": True}


@pytest.mark.parametrize("step", ["file.opened", "chunk.copied", "chunk.advanced", "chunk.committed"])
def test_a_load_goes_on_when_a_worker_loses_its_sessions(
    settings: Settings,
    local: Settings,
    events: Path,
    worker: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    step: Step,
) -> None:
    monkeypatch.setattr(loading, "CHUNK_SIZE", 300_000)
    terminate = """
        select pg_terminate_backend(pid, 10000) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'
    """
    with at(step, lambda: worker.execute(terminate).fetchall(), times=2 if step.startswith("chunk") else 1):
        result = load_and_refresh(replace(settings, retry_for=timedelta(seconds=60)), [str(events)], Options())
    assert result.status == "ok", result.errors
    load_file(local, events)
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        wait_for_workers(warehouse)
    assert content(settings) == content(local)


def test_a_refresh_waits_for_rows_that_a_worker_has_prepared(settings: Settings, tmp_path: Path) -> None:
    """As after a failure between the two phases: the chunk is in the ledger, its rows are not visible yet."""
    load_and_refresh(settings, [str(write(tmp_path, "first"))], Options())
    load_file(settings, write(tmp_path, "doubtful"))
    place = """
        select shard_name(%s::regclass, get_shard_id_for_distribution_column('selligent.tracks', 'doubtful')) as tracks,
            shard_name(%s::regclass, get_shard_id_for_distribution_column(%s, 'doubtful')) as opened, nodename, nodeport
        from pg_dist_shard_placement
        where shardid = get_shard_id_for_distribution_column('selligent.tracks', 'doubtful')
    """
    # `shard_name` takes the table of the shard from its first argument.
    found = one(settings, place, "selligent.tracks", "selligent.email_opened", "selligent.email_opened")
    name = str(conninfo_to_dict(settings.database_url or "")["dbname"])
    node = on_node(str(CITUS), (found["nodename"], found["nodeport"]), name)
    with psycopg.connect(node, autocommit=True) as there:
        there.execute("set citus.enable_manual_changes_to_shards to on")
        for table in ("tracks", "opened"):
            there.execute(f"create table public.{table} as select * from {found[table]} where id = 'doubtful'".encode())
            there.execute(f"delete from {found[table]} where id = 'doubtful'".encode())
        there.execute("begin")
        for table in ("tracks", "opened"):
            there.execute(f"insert into {found[table]} select * from public.{table}".encode())
        there.execute("prepare transaction 'doubtful'")
        refreshing = threading.Thread(target=lambda: refresh(settings))
        refreshing.start()
        refreshing.join(2)
        assert refreshing.is_alive()
        there.execute("commit prepared 'doubtful'")
        refreshing.join(30)
        assert not refreshing.is_alive()
    assert one(settings, "select count(*) from email_events") == {"count": 2}


def write(folder: Path, id_: str) -> Path:
    path = folder / f"{id_}.jsonl"
    path.write_bytes(ndjson([event(messageId=id_)]))
    return path


def test_concurrent_loads_with_several_processes_store_each_event_once(
    settings: Settings, local: Settings, generated: bytes, tmp_path: Path
) -> None:
    lines = generated.splitlines(keepends=True)
    folder = tmp_path / "files"
    folder.mkdir()
    for n in range(8):
        (folder / f"{n}.jsonl").write_bytes(b"".join(lines[n * 200 : n * 200 + 500]))
    command = [*INSTALLED, "load", str(folder), "--jobs", "2", "--database-url", str(settings.database_url)]
    for process in [subprocess.Popen(command) for _ in range(2)]:
        assert process.wait(120) == 0
    load_and_refresh(local, [str(folder)], Options())
    assert content(settings) == content(local)


def test_a_reader_may_read_tables_that_are_made_later(settings: Settings, tmp_path: Path) -> None:
    name = f"reader_{datetime.now().timestamp():.0f}"
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute(f"create role {name} login".encode())
    try:
        assert run(["grant", name, "--database-url", str(settings.database_url)]) == 0
        load_events(settings, [event(event="Made Later")], tmp_path)
        with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
            connection.execute(f"set role {name}".encode())
            assert connection.execute("select count(*) from selligent.made_later").fetchone() == (1,)
    finally:
        with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
            connection.execute(f"drop owned by {name}; drop role {name}".encode())
