"""Calls of the company's site reach Selligent, through kills and outages, and no table of e-mail events."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loader.config import Settings
from loader.forwarding import forwarder
from loader.pipeline.suppression import change_list
from loader.schema.source import open_warehouse
from loader.spool.segments import site_log
from tests.support.command_line import environment
from tests.support.endpoint import new_key, serving, wait_for
from tests.support.forwarding import SimulatedClock, add, forward_events, spooling, state, write
from tests.support.loading import event, select
from tests.support.segment_clients import MissingError, node_client, python_client
from tests.support.selligent_calls import SETTINGS, Model, call, group, identify, track
from tests.support.selligent_server import KEY, Call, Fault, SelligentServer, selligent
from tests.support.waiting import until
from tests.system.test_forwarding import KILLED_AT

SITE = site_log("selligent")
KILLS = int(os.environ.get("SELLIGENT_TEST_FORWARD_KILLS", "8"))


@pytest.fixture
def vendor(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SelligentServer]:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))
    with selligent() as found:
        yield found


def add_selligent(settings: Settings, vendor: SelligentServer, **options: Any) -> None:
    given = {**SETTINGS, **options.pop("given", {})}
    add(settings, vendor.url, "selligent", kind="selligent", secret=KEY, given=given, **options)


def stamped(made: Mapping[str, Any]) -> dict[str, Any]:
    """Return a call as the endpoint stores it now."""
    return {**made, "receivedAt": datetime.now(UTC).isoformat(timespec="milliseconds")}


def test_calls_with_a_key_of_the_site_go_to_selligent_only(
    settings: Settings, vendor: SelligentServer, tmp_path: Path
) -> None:
    add_selligent(settings, vendor)
    site, spool = new_key(settings, is_site=True), tmp_path / "home" / "spool"
    with serving(settings, spool, "--load-every", "1s", "--forward") as server:
        mail = [event(messageId="e1")]
        assert server.post("batch", {"batch": mail}).status_code == 200
        calls = [identify(1, plan="gold"), track(2, price=9.5), group(3), call("page", 4, name="Home")]
        assert server.post("batch", {"batch": calls}, auth=(site, "")).status_code == 200
        body = json.dumps({"userId": "u2", "traits": {"email": "ü@example.com"}, "messageId": "m5"})
        sent = ["curl", "-sS", "--fail", "-u", f"{site}:", "-d", body, f"{server.url}/v1/identify"]
        assert subprocess.run(sent, capture_output=True, check=True).stdout == b'{"success":true}'
        until(lambda: len(vendor.rows("customers")) == 2 and len(vendor.rows("segment_events")) == 2, 60)
        assert wait_for(settings, 1) == ["e1"]
        folder = spool / ".selligent.site"
        until(lambda: next((folder / ".loaded").glob("*.gz"), None) is not None, 20)
        assert 'integration="selligent"' in server.client.get("/metrics").text
    assert vendor.members("customers", "vip", "CUSTOMER_ID") == {"u1"}
    assert vendor.rows("customers")["u2"]["MAIL"] == "ü@example.com"
    tables = select(settings, "select relname from pg_class where relnamespace = 'selligent'::regnamespace")
    assert not {row["relname"] for row in tables} & {"identifies", "pages", "groups", "users", "order_completed"}
    assert select(settings, "select * from rejected_events") == []
    assert select(settings, "select is_site from write_keys order by key_id") == [{"is_site": True}, {"is_site": False}]


def test_suppressed_people_are_not_sent(settings: Settings, vendor: SelligentServer, tmp_path: Path) -> None:
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        change_list(warehouse, add=["u2"])
    with spooling(tmp_path / "spool", SITE) as spool:
        add_selligent(settings, vendor)
        write(spool, [stamped(identify(n, f"u{n}")) for n in range(4)], SITE)
        assert forward_events(settings, tmp_path / "spool", "selligent")
    assert sorted(vendor.rows("customers")) == ["u0", "u1", "u3"]
    assert state(settings, "selligent")["events_skipped"] == 1


def test_a_wrong_mapping_is_reported_to_people_before_anything_is_sent(
    settings: Settings, vendor: SelligentServer, tmp_path: Path
) -> None:
    messages: list[str] = []

    def notify(message: str) -> bool:
        messages.append(message)
        return True

    with spooling(tmp_path / "spool", SITE) as spool:
        add_selligent(settings, vendor, given={"profile_fields": "NAME=traits.name"})
        write(spool, [stamped(identify(1))], SITE)
        assert not forward_events(settings, tmp_path / "spool", "selligent", notify=notify)
    assert [call.endpoint for call in vendor.calls] == ["fields"]
    assert "the list customers has no field NAME" in messages[0]


def test_a_batch_waits_for_more_calls_but_not_for_long(
    settings: Settings, vendor: SelligentServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(waited: float) -> None:
        if 2 < waited < 2.5:
            write(spool, [stamped(identify(2, "u2"))], SITE)
        if vendor.rows("customers"):
            times.append(waited)
            clock.stop()

    times: list[float] = []
    clock = SimulatedClock(act)
    with spooling(tmp_path / "spool", SITE) as spool:
        add_selligent(settings, vendor, given={"max_wait": "10"})
        write(spool, [stamped(identify(1))], SITE)
        forward_events(settings, tmp_path / "spool", "selligent", clock=clock, once=False)
    loads = [call.body for call in vendor.calls if call.endpoint == "load"]
    assert [len(body) for body in loads] == [2]
    assert 9 < times[0] < 13


def test_selligent_may_be_away_for_two_days(
    settings: Settings, vendor: SelligentServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--retry-for 7d` nothing is given up, and all arrives in order."""
    monkeypatch.setattr(forwarder, "FAILING_SECONDS", 3600)
    days = 2 * 86_400.0
    clock = SimulatedClock(lambda waited: clock.stop() if waited > 2 * days else None)
    vendor.fault = lambda _: Fault(503, b"maintenance") if clock.waited < days else None
    chance, model = random.Random(1), Model()
    calls = [chance.choice([identify, track, group])(n, f"u{chance.randint(1, 5)}") for n in range(300)]
    calls = [
        {**made, "traits": {"plan": f"p{n}"}} if made["type"] == "identify" else made for n, made in enumerate(calls)
    ]
    for made in calls:
        model.apply(made)
    with spooling(tmp_path / "spool", SITE) as spool:
        add_selligent(settings, vendor, retry_for=timedelta(days=7))
        write(spool, [stamped(made) for made in calls], SITE)
        monkeypatch.setattr(forwarder, "POLL_SECONDS", 3600)
        forward_events(settings, tmp_path / "spool", "selligent", clock=clock, once=False)
    model.check(vendor)
    assert len(vendor.journeys["orders", "placed"]) == len(model.triggers)
    found = state(settings, "selligent")
    assert (found["lag_events"], found["undelivered_now"]) == (0, 0)


POINTS = ("sending", "called", "answered", "buried", "saved", "recorded")


def kill_forwarders(settings: Settings, vendor: SelligentServer, home: Path, kills: int, seed: int) -> None:
    chance, model, spool = random.Random(seed), Model(), home / "spool"
    kinds = [Fault(503), Fault(429), Fault(), Fault(is_applied=True)]

    def fail(_: Call) -> Fault | None:
        return chance.choice(kinds) if chance.random() < 0.1 else None

    vendor.fault = fail
    sent = at_points = 0
    with spooling(spool, SITE) as opened:
        (spool / "selligent").mkdir()
        add_selligent(settings, vendor, given={"records": "20"})
        for kill in range(kills):
            for made in random_calls(chance, sent, chance.randint(20, 120)):
                model.apply(made)
                opened.append(SITE, json.dumps(stamped(made)).encode() + b"\n", None)
                sent += 1
            opened.rotate()
            name = POINTS[kill % len(POINTS)]
            point = f"forward.{name}:{0 if name == 'buried' else chance.randint(0, 4)}"
            process = subprocess.Popen(
                [sys.executable, "-c", KILLED_AT, point, "forward", "--spool", str(spool)],
                env=environment(settings, SELLIGENT_HOME=str(home), PYTHONPATH="."),
            )
            with suppress(subprocess.TimeoutExpired):  # it waits at the end of the log, before the point
                process.wait(6)
                at_points += 1
            process.kill()
            assert process.wait() == -9
        vendor.fault = lambda _: None
        for _ in range(100):
            if forward_events(settings, spool, "selligent"):
                break
    assert at_points >= kills // 2
    model.check(vendor)
    letters = select(settings, "select message_id, reason, answer from undelivered_events")
    model.check_rejected({row["message_id"] for row in letters})
    assert letters or kills < 10
    assert all("PLAN has more than 10 characters" in row["answer"] for row in letters)
    assert len(vendor.journeys["orders", "placed"]) >= len(model.triggers)
    assert vendor.most_at_once == 1


def random_calls(chance: random.Random, first: int, count: int) -> Iterator[dict[str, Any]]:
    """Yield calls of a few people; now and then a profile that is refused."""
    for n in range(first, first + count):
        user = f"u{chance.randint(1, 6)}"
        kind = chance.random()
        if kind < 0.4:
            yield identify(n, user, plan="a plan that is too long" if chance.random() < 0.05 else f"p{n % 1000}")
        elif kind < 0.7:
            yield track(n, user, chance.choice(["Order Completed", "Cart Viewed", "Not Allowed"]), price=n)
        else:
            yield group(n, user, chance.choice(["vip", "lapsed"]), method=chance.choice(["ADD", "REMOVE"]))


def test_a_killed_forwarder_leaves_lists_and_segments_as_the_calls_say(
    settings: Settings, vendor: SelligentServer, tmp_path: Path
) -> None:
    kill_forwarders(settings, vendor, tmp_path / "home", 3, seed=1)


@pytest.mark.slow
def test_a_forwarder_that_is_killed_at_every_step(settings: Settings, vendor: SelligentServer, tmp_path: Path) -> None:
    kill_forwarders(settings, vendor, tmp_path / "home", KILLS, seed=2)


PYTHON_SENDER = """
import sys
import segment.analytics as analytics
analytics.host, analytics.write_key = sys.argv[1:]
analytics.identify("u1", {"email": "anna@example.com", "plan": "gold"})
analytics.track("u1", "Order Completed", {"price": 9.5}, message_id="m1")
analytics.group("u1", "vip", {"userlist": "customers", "matchkey": "CUSTOMER_ID"})
analytics.page("u1", "Shop", "Home", message_id="m2")
analytics.shutdown()
"""
NODE_SENDER = """
const { Analytics } = require('@segment/analytics-node')
const [host, writeKey] = process.argv.slice(1)
const analytics = new Analytics({ host, writeKey })
analytics.identify({ userId: 'u1', traits: { email: 'anna@example.com', plan: 'gold' } })
analytics.track({ userId: 'u1', event: 'Order Completed', properties: { price: 9.5 }, messageId: 'm1' })
analytics.group({ userId: 'u1', groupId: 'vip', traits: { userlist: 'customers', matchkey: 'CUSTOMER_ID' } })
analytics.page({ userId: 'u1', name: 'Home', messageId: 'm2' })
analytics.closeAndFlush({ timeout: 60000 })
"""


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "node"])
def test_real_clients_reach_selligent(
    settings: Settings, vendor: SelligentServer, tmp_path: Path, language: str
) -> None:
    try:
        if language == "python":
            folder, command = None, [str(python_client()), "-c", PYTHON_SENDER]
        else:
            folder, command = node_client(), ["node", "-e", NODE_SENDER, "--"]
    except MissingError as exc:
        pytest.skip(str(exc))
    add_selligent(settings, vendor)
    site = new_key(settings, is_site=True)
    with serving(settings, tmp_path / "home" / "spool", "--forward", key=site) as server:
        subprocess.run([*command, server.url, site], cwd=folder, check=True, timeout=120)
        until(lambda: vendor.members("customers", "vip", "CUSTOMER_ID") == {"u1"}, 60)
        until(lambda: len(vendor.rows("segment_events")) == 2, 60)
    assert vendor.rows("customers")["u1"]["MAIL"] == "anna@example.com"
    assert {row["EVENT"] for row in vendor.rows("segment_events").values()} == {"Order Completed", "page"}
