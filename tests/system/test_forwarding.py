"""The forwarder is killed at every step, its cursor restored from older copies: each event arrives, in order."""

import os
import random
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loader.config import Settings
from tests.conftest import clone
from tests.support.command_line import environment
from tests.support.endpoint import new_key, serving, stored, wait_for
from tests.support.forwarding import add, forward_events, lines, received, spooling, state, write
from tests.support.loading import select
from tests.support.targets import Received, Reply, target
from tests.support.waiting import until

#: The forwarder's crash points, and how many times each is passed before the kill.
POINTS = ("forward.sending", "forward.answered", "forward.buried", "forward.saved", "forward.recorded")
KILLS = int(os.environ.get("SELLIGENT_TEST_FORWARD_KILLS", "10"))
KILLED_AT = """
import sys
from tests.support.crash_points import kill_at
point, lives = sys.argv.pop(1).split(":")
kill_at(point, int(lives))
import loader.forwarding.forwarder
import loader.forwarding.delivery
loader.forwarding.forwarder.RECORD_SECONDS = 0.05
loader.forwarding.delivery.FIRST_PAUSE_SECONDS = 0.01
from loader.cli.main import main
main()
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Store:
    """A target that keeps the first arrival of each event, refuses batches with poison, and fails at random."""

    def __init__(self, seed: int) -> None:
        self.first: list[Any] = []
        self.ids: set[str] = set()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()

    def answer(self, request: Received) -> Reply:
        with self._lock:
            chance = self._chance.random()
            batch = request.json["batch"]
            if any(item["properties"].get("poison") for item in batch):
                return Reply(400, b"poison")
            if chance < 0.1:
                return Reply(503, headers={"Retry-After": "0"})
            for item in batch:
                if item["messageId"] not in self.ids:
                    self.ids.add(item["messageId"])
                    self.first.append(item)
            return Reply(None) if chance < 0.2 else Reply()  # the answer is lost, but the events are stored

    def assert_order(self) -> None:
        last: dict[str, int] = defaultdict(lambda: -1)
        for item in self.first:
            number = int(item["messageId"][1:])
            assert number > last[item["userId"]]
            last[item["userId"]] = number


def poisoned(number: int) -> Any:
    return received(number, properties={"poison": number % 97 == 13})


def kill_forwarders(settings: Settings, tmp_path: Path, kills: int, seed: int) -> None:
    chance, store, spool = random.Random(seed), Store(seed), tmp_path / "home" / "spool"
    with target(store.answer) as place, spooling(spool) as opened:
        add(settings, place.url, given={"events": "20"})
        sent = at_points = 0
        for kill in range(kills):
            count = chance.randint(20, 150)
            opened.append("selligent", lines([poisoned(n) for n in range(sent, sent + count)]), None)
            sent += count
            if chance.random() < 0.5:
                opened.rotate()
                for path in opened.closed("selligent"):
                    opened.archive(path)
            point = POINTS[kill % len(POINTS)]
            lives = 0 if point == "forward.buried" else chance.randint(0, 4)
            process = subprocess.Popen(
                [sys.executable, "-c", KILLED_AT, f"{point}:{lives}", "forward"],
                env=environment(settings, SELLIGENT_HOME=str(tmp_path / "home"), PYTHONPATH="."),
            )
            with suppress(subprocess.TimeoutExpired):  # it waits at the end of the log, before the point
                process.wait(6)
                at_points += 1
            process.kill()
            assert process.wait() == -9
        opened.rotate()
        for _ in range(500):
            if forward_events(settings, spool):
                break
    assert at_points >= kills // 3
    letters = {row["message_id"] for row in select(settings, "select message_id from undelivered_events")}
    assert letters == {f"m{n}" for n in range(sent) if n % 97 == 13}
    assert store.ids == {f"m{n}" for n in range(sent)} - letters
    store.assert_order()
    assert state(settings)["lag_events"] == 0


def test_a_killed_forwarder_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    kill_forwarders(settings, tmp_path, 5, seed=1)


@pytest.mark.slow
def test_a_forwarder_that_is_killed_many_times_loses_nothing(settings: Settings, tmp_path: Path) -> None:
    kill_forwarders(settings, tmp_path, KILLS, seed=2)


@pytest.mark.parametrize("restored", ["database", "disk", "both", "disk lost", "disk broken"])
def test_a_cursor_from_an_older_copy_only_repeats_events(settings: Settings, tmp_path: Path, restored: str) -> None:
    store, spool = Store(3), tmp_path / "spool"
    with target(store.answer) as place, spooling(spool) as opened:
        add(settings, place.url, given={"events": "20"})
        write(opened, [received(n, properties={}) for n in range(100)])
        while not forward_events(settings, spool):
            pass
        (row,) = select(settings, "select segment, position, is_complete from forwarding")
        (cursor,) = (spool / "selligent" / ".forward").glob("*.json")
        older = cursor.read_bytes()
        write(opened, [received(n, properties={}) for n in range(100, 200)])
        while not forward_events(settings, spool):
            pass
        if restored in {"database", "both"}:
            with psycopg.connect(settings.database_url or "") as connection:
                older_row = row["segment"], row["position"]
                connection.execute("update selligent_ops.forwarding set segment = %s, position = %s", older_row)
        if restored in {"disk", "both"}:
            cursor.write_bytes(older)
        if restored == "disk lost":
            cursor.unlink()
        if restored == "disk broken":
            cursor.write_bytes(b"")
        place.requests.clear()
        write(opened, [received(n, properties={}) for n in range(200, 300)])
        while not forward_events(settings, spool):
            pass
        repeated = len({item["messageId"] for request in place.requests for item in request.json["batch"]})
    assert store.ids == {f"m{n}" for n in range(300)}
    store.assert_order()
    assert repeated == (100 if restored.startswith("disk ") else 200)


def test_a_spool_that_was_made_again_is_read_from_its_start(settings: Settings, tmp_path: Path) -> None:
    """Its segments begin with lower numbers than those of the former spool."""
    store, spool = Store(4), tmp_path / "spool"
    with target(store.answer) as place:
        add(settings, place.url)
        for former in range(2):
            with spooling(spool) as opened:
                for number in range(3 - former):
                    write(opened, [received(10 * former + number, properties={})])
                while not forward_events(settings, spool):
                    pass
            shutil.rmtree(spool)
    assert store.ids == {"m0", "m1", "m2", "m10", "m11"}
    assert len(select(settings, "select spool from forwarding")) == 1


def test_another_endpoint_as_the_target_has_each_event_once(
    settings: Settings, server: str, template: str, tmp_path: Path
) -> None:
    """From the endpoint through a forwarder inside it to the endpoint, and the warehouse, of another loader."""
    with clone(server, template) as other, serving(other, tmp_path / "other", "--load-every", "1s") as receiver:
        key = new_key(other)
        add(settings, receiver.url, secret=key, send_personal_data=True)
        with serving(settings, tmp_path / "spool", "--load-every", "1s", "--forward") as sender:
            late = {"sentAt": "2025-01-01T01:00:00Z"}  # the sender's clock
            for n in range(60):
                about = {"messageId": f"m{n}", "timestamp": f"2025-01-01T00:00:{n:02}Z"} | (late if n == 7 else {})
                sender.post("track", {"event": "Email Opened", "userId": "u1", "properties": {"a": 1.5}, **about})
            assert wait_for(other, 60) == sorted(f"m{n}" for n in range(60)) == wait_for(settings, 60)
            until(lambda: sender.forward_figure("delivered_events_total") == 60)
            assert sender.forward_figure("lag_events") == 0
            query = "select id, user_id, event_text, original_timestamp, a from selligent.email_opened order by id"
            assert select(settings, query) == select(other, query)
            query = "select \"timestamp\" from selligent.tracks where id = 'm7'"
            (here,), (there,) = select(settings, query), select(other, query)
            assert abs((here["timestamp"] - there["timestamp"]).total_seconds()) < 10
            sender.process.send_signal(15)
            assert sender.process.wait(30) == 0
        assert stored(other) == sorted(f"m{n}" for n in range(60))
