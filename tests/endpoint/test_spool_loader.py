"""`serve` loads often and refreshes the figures at an interval of its own; a refresh that fails stops no load."""

import gzip
from functools import partial
from pathlib import Path

import psycopg
import pytest

from loader.config import Settings
from loader.pipeline.suppression import change_list
from loader.schema.source import open_warehouse
from tests.support.endpoint import Server, serving, wait_for
from tests.support.loading import event, one
from tests.support.waiting import until

FIGURES = "select coalesce(sum(opens), 0)::int as opens from email_messages"


def opens(settings: Settings) -> int:
    """Return the number of opens in the figures."""
    return int(one(settings, FIGURES)["opens"])


def has_opens(settings: Settings, number: int) -> bool:
    return opens(settings) == number


def send(server: Server, name: str) -> None:
    assert server.post("track", event(messageId=name)).status_code == 200


def test_figures_wait_for_the_refresh_while_events_are_loaded(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--load-every", "1s", "--refresh-every", "12s") as server:
        send(server, "a")
        wait_for(settings, 1)
        send(server, "b")
        wait_for(settings, 2)
        assert opens(settings) == 0
        until(lambda: opens(settings) == 2, 40)
        until(lambda: server.figure('refreshes_total{code="0"') == 1, 20)
        assert server.figure("refresh_seconds") > 0


@pytest.mark.slow
def test_figures_follow_each_load_on_request(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--load-every", "1s", "--refresh-every", "0s") as server:
        for number, name in enumerate("ab", 1):
            send(server, name)
            wait_for(settings, number)
            until(partial(has_opens, settings, number), 20)
        assert server.figure("refreshes_total") == 0


def test_a_refresh_that_fails_stops_no_load(settings: Settings, tmp_path: Path) -> None:
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("alter table selligent_ops.stored_messages rename to hidden")
        with serving(settings, tmp_path, "--load-every", "1s", "--refresh-every", "2s") as server:
            send(server, "a")
            wait_for(settings, 1)
            until(lambda: server.figure('refreshes_total{code="2"') >= 1, 30)
            send(server, "b")
            wait_for(settings, 2)
            connection.execute("alter table selligent_ops.hidden rename to stored_messages")
            until(lambda: opens(settings) == 2, 30)


def test_events_of_suppressed_people_are_not_kept_in_the_spool(settings: Settings, tmp_path: Path) -> None:
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        change_list(warehouse, add=["customer-b"])
    with serving(settings, tmp_path, "--load-every", "1s") as server:
        for name in ("a", "b"):
            assert server.post("track", event(userId=f"customer-{name}", messageId=name)).status_code == 200
        wait_for(settings, 1)
        folder = tmp_path / "selligent" / ".loaded"
        until(lambda: any(b"group" in gzip.decompress(path.read_bytes()) for path in folder.glob("*.gz")), 20)
    kept = b"".join(gzip.decompress(path.read_bytes()) for path in tmp_path.rglob("*.gz"))
    assert b"customer-a" in kept and b"customer-b" not in kept
    assert one(settings, "select sum(events_suppressed)::int as n from loads") == {"n": 1}
