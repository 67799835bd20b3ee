"""The commands `init` and `migrate`."""

import json
import re

import pytest

from loader.config import Settings
from tests.support.command_line import Run
from tests.support.loading import select


def test_init_says_what_it_did_and_what_to_do_next(run: Run) -> None:
    first, second = run("init", "--schema", "other"), run("init", "--schema", "other")
    assert (first.code, second.code) == (0, 0)
    assert re.fullmatch(r"schema 'other' is created, version \d{4}\nnext: selligent-loader load PATH\n", first.out)
    assert second.out == "schema 'other' is up to date\nnext: selligent-loader load PATH\n"


def test_init_prints_json(run: Run) -> None:
    first, second = (json.loads(run("init", "--json", "--schema", "other").out) for _ in range(2))
    assert first == {"schema": "other", "from": None, "to": second["to"]}
    assert second == {"schema": "other", "from": second["to"], "to": second["to"]}


def test_migrate_says_what_it_did(run: Run) -> None:
    assert run("migrate").out == "schema 'selligent' is up to date\n"


def test_the_schema_can_come_from_the_environment(run: Run, settings: Settings) -> None:
    assert json.loads(run("init", "--json", SELLIGENT_SCHEMA="newsletters").out)["schema"] == "newsletters"
    assert select(settings, "select from pg_namespace where nspname = 'newsletters_ops'")


def test_a_database_without_citus_cannot_be_distributed(run: Run, settings: Settings) -> None:
    if select(settings, "select from pg_extension where extname = 'citus'"):
        pytest.skip("this database has Citus")
    for command in ("init", "migrate"):
        ended = run(command, "--distributed")
        assert ended.code == 2
        assert "the database has no extension citus; run `create extension citus` on all nodes" in ended.err
    assert run("status").code == 0
