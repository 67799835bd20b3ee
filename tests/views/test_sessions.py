"""Statements in sessions that work at the same time."""

import threading

import pytest

from loader.config import Settings
from loader.errors import WarehouseError
from loader.postgres.connection import Warehouse
from loader.views.sessions import run_statements
from loader.views.statements import Statement, split
from tests.support.loading import select


def run(session: Warehouse, statement: Statement) -> int:
    return session.run(f"begin; set local search_path to selligent_ops; {statement.script}; commit")


def test_statements_that_do_not_wait_for_each_other_run_at_the_same_time(settings: Settings) -> None:
    both = threading.Barrier(2, timeout=20)
    steps: list[tuple[str, int]] = []

    def meet(session: Warehouse, statement: Statement) -> int:
        both.wait()
        return run(session, statement)

    statements = split("one", "create table a as select 1 as n;") + split("two", "create table b as select 2 as n;")
    run_statements(settings, statements, meet, lambda _: None, lambda name, _, rows: steps.append((name, rows)))
    assert sorted(steps) == [("one", 1), ("two", 1)]
    assert select(settings, "select a.n, b.n as m from a, b") == [{"n": 1, "m": 2}]


def test_if_one_fails_those_that_run_are_cancelled_and_no_other_begins(settings: Settings) -> None:
    script = """
        create table long as select 1 as n from pg_sleep(600);
        create table wrong as select 1 / 0;
        create table after as select * from wrong;
    """
    begun: list[str] = []

    def note(session: Warehouse, statement: Statement) -> int:
        begun.extend(statement.written)
        return run(session, statement)

    with pytest.raises(WarehouseError, match="division by zero"):
        run_statements(settings, split("", script), note, lambda _: None, lambda *_: None)
    assert sorted(begun) == ["long", "wrong"]
