"""Crashes of the endpoint, its loads and the database: every event answered with status 200 is stored once."""

import asyncio
import gzip
import json
import os
import random
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from loader.config import Settings
from loader.migrate import migrate
from loader.pipeline.ledger import Ledger
from loader.pipeline.options import Options
from loader.postgres import embedded
from loader.schema.source import open_warehouse
from tests.support.endpoint import Server, free_port, new_key, serving, stored, wait_for
from tests.support.loading import event, load, one, select
from tests.support.waiting import until
from tests.system.test_server_faults import crash

CONNECTIONS = 50
#: Kills of a server for each of SEEDS.
KILLS = int(os.environ.get("SELLIGENT_TEST_KILLS", "10"))
SEEDS = (5, 6)


class Senders:
    """Several connections that send continuously, and record which events were answered with status 200."""

    def __init__(self, port: int, key: str, connections: int = CONNECTIONS) -> None:
        self.sent: set[str] = set()
        self.answered: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self._place, self._connections = ("127.0.0.1", port), connections
        self._auth = httpx.BasicAuth(key, "")._auth_header
        self._ending = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    def stop(self) -> None:
        self._ending = True
        self._thread.join(60)

    async def _run(self) -> None:
        await asyncio.gather(*(self._send(number) for number in range(self._connections)))

    async def _send(self, number: int) -> None:
        count = 0
        while not self._ending:
            with suppress(OSError, EOFError, IndexError):
                reader, writer = await asyncio.open_connection(*self._place)
                while not self._ending:
                    ids = [f"{number}-{count + n}" for n in range(1 if number % 2 else 20)]
                    count += len(ids)
                    await self._post(reader, writer, ids)
                writer.close()
            await asyncio.sleep(0.02)

    async def _post(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ids: list[str]) -> None:
        body = json.dumps({"batch": [event(messageId=name) for name in ids]}).encode()
        head = (
            f"POST /v1/batch HTTP/1.1\r\nHost: x\r\nAuthorization: {self._auth}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.sent.update(ids)
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        status = int(answer.split()[1])
        self.statuses[status] += 1
        if status == 200:
            self.answered.update(ids)


def check(settings: Settings, senders: Senders) -> None:
    """Check that answered events are stored once, and others at most once."""
    found = Counter(stored(settings))
    assert senders.answered <= found.keys() <= senders.sent
    assert set(found.values()) == {1}
    assert one(settings, "select count(*) from rejected_events") == {"count": 0}


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_server_killed_again_and_again_under_load_loses_nothing(
    settings: Settings, tmp_path: Path, seed: int
) -> None:
    key, port, chance = new_key(settings), free_port(), random.Random(seed)
    senders = Senders(port, key)
    try:
        for _ in range(KILLS):
            server = Server(settings, tmp_path, "--load-every", "1s", "--rate", "0", key=key, port=port)
            time.sleep(chance.uniform(0.02, 0.8))
            server.kill()
    finally:
        senders.stop()
    assert len(senders.answered) > 50 * KILLS
    with serving(settings, tmp_path, "--load-every", "1s", key=key) as server:
        wait_for(settings, len(senders.answered), 120)
        deadline = time.monotonic() + 60
        while server.figure("spool_bytes"):
            assert time.monotonic() < deadline
            time.sleep(0.5)
    check(settings, senders)


@pytest.mark.slow
def test_postgresql_and_the_server_may_crash_at_the_same_time(home: Path, tmp_path: Path) -> None:
    settings = Settings(embedded.start(home).url, "crashing")
    migrate(settings)
    key, port = new_key(settings), free_port()
    senders = Senders(port, key, 10)
    try:
        for _ in range(3):
            server = Server(settings, tmp_path, "--load-every", "1s", key=key, port=port)
            time.sleep(2.5)
            crash(home)
            server.kill()
    finally:
        senders.stop()
    with serving(settings, tmp_path, "--load-every", "1s", key=key):
        wait_for(settings, len(senders.answered), 120)
    load(settings, [str(path) for path in tmp_path.rglob("*.gz")], Options(again=True))
    check(settings, senders)


@pytest.mark.slow
def test_while_postgresql_is_away_events_are_taken_and_wait(home: Path, tmp_path: Path) -> None:
    settings = Settings(embedded.start(home).url, "away")
    migrate(settings)
    key = new_key(settings)
    with serving(settings, tmp_path, "--load-every", "1s", key=key) as server:
        assert server.post("track", event(messageId="before")).status_code == 200
        wait_for(settings, 1)
        embedded.stop(home)
        assert server.post("track", event(messageId="away")).status_code == 200
        time.sleep(6)  # longer than the interval between key refreshes
        assert server.post("track", event(messageId="still")).status_code == 200
        assert server.client.get("/readyz").status_code == 200
        server.stop()
    with serving(
        settings, tmp_path, "--load-every", "1s", key=key
    ) as server:  # without PostgreSQL, with the saved keys
        assert server.post("track", event(messageId="started")).status_code == 200
        assert server.post("track", event(messageId="wrong"), auth=("wrong", "")).status_code == 401
        assert embedded.running(home) is None
        embedded.start(home)
        assert wait_for(settings, 4, 90) == ["away", "before", "started", "still"]
    assert key not in (tmp_path / "keys.json").read_text()


def test_a_removed_spool_is_refused_and_made_again(settings: Settings, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with serving(settings, spool, "--load-every", "1h") as server:
        assert server.post("track", event(messageId="before")).status_code == 200
        spool.rename(tmp_path / "removed")
        assert server.client.get("/readyz").status_code == 503
        until(lambda: server.client.get("/readyz").status_code == 200, 10)
        spool.rename(tmp_path / "removed too")
        assert server.post("track", event(messageId="refused")).status_code == 503
        until(lambda: server.client.get("/readyz").status_code == 200, 10)
        assert server.post("track", event(messageId="after")).status_code == 200
        server.stop()
    load(settings, [str(spool / settings.schema)], Options())
    assert stored(settings) == ["after"]


def test_without_postgresql_and_without_a_copy_of_the_keys_nothing_starts(tmp_path: Path) -> None:
    nowhere = Settings(f"postgresql://postgres@127.0.0.1:{free_port()}/nowhere", "selligent")
    with pytest.raises(AssertionError, match="the database cannot be reached"):
        Server(nowhere, tmp_path, key="")


def test_a_load_that_was_killed_is_done_again(settings: Settings, tmp_path: Path) -> None:
    """Terminates the sessions of the server's loads repeatedly."""
    with serving(settings, tmp_path, "--load-every", "1s") as server:
        end = "select pg_terminate_backend(pid) from pg_stat_activity where application_name ~ '^selligent-loader load'"
        for n in range(8):
            body = {"batch": [event(messageId=f"{n}-{m}") for m in range(200)]}
            assert server.post("batch", body).status_code == 200
            with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
                connection.execute(end.encode())
            time.sleep(0.3)
        assert len(wait_for(settings, 1600)) == 1600


def test_a_segment_is_loaded_once_though_it_is_put_aside(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--load-every", "1s") as server:
        server.post("track", event(messageId="a"))
        wait_for(settings, 1)
        server.post("track", event(messageId="b"))
        wait_for(settings, 2)
    read = select(settings, "select uri, events_read from files order by file_id")
    assert [row["events_read"] for row in read] == [1, 1]
    assert len({row["uri"] for row in read}) == 2
    assert sum(len(gzip.decompress(path.read_bytes()).splitlines()) for path in tmp_path.rglob("*.gz")) == 2


def test_what_another_load_keeps_from_being_loaded_waits(settings: Settings, tmp_path: Path) -> None:
    """A segment is archived when the ledger has it as read, not when a load has ended."""
    with serving(settings, tmp_path, "--load-every", "1s") as server:
        with open_warehouse(settings) as warehouse:
            Ledger(warehouse).begin(exclusive=True)
            assert server.post("track", event(messageId="a")).status_code == 200
            until(lambda: server.figure('loads_total{code="4"') >= 2, 30)
            assert stored(settings) == []
            assert list((tmp_path / "selligent").glob("*.gz"))
            assert server.figure("load_lag_seconds") > 1
        assert wait_for(settings, 1) == ["a"]
        until(lambda: server.figure("spool_bytes") == 0, 20)
