"""Distributed tables, as far as they can be tested without a cluster; tests/system/test_citus.py has the others."""

import pytest

from loader.config import Settings
from loader.errors import UsageError
from loader.schema.distribution import (
    distribute_tables,
    distribution_statements,
    has_citus,
    is_distributed,
    measure_event_tables,
)
from loader.schema.introspection import read_event_tables
from loader.schema.source import open_warehouse
from loader.views.steps import NEW_CHUNKS, read_steps


def test_a_server_without_citus_has_local_tables(settings: Settings) -> None:
    with open_warehouse(settings) as warehouse:
        with warehouse.transaction():
            if has_citus(warehouse):
                pytest.skip("this server has Citus")
            assert not is_distributed(warehouse)
            assert distribution_statements(warehouse, "tracks") == []
            assert measure_event_tables(warehouse) == read_event_tables(warehouse) != []
        with pytest.raises(UsageError, match="the database has no extension citus"):
            distribute_tables(warehouse)


def test_the_events_of_chunks_are_read_after_it_is_known_which_these_are() -> None:
    """The refresh waits for the workers in between."""
    names = [step.name for step in read_steps()]
    (chunks,) = [step for step in read_steps() if "create temporary table new_chunks" in step.script]
    assert chunks.name == NEW_CHUNKS
    assert names.index(NEW_CHUNKS) < min(n for n, step in enumerate(read_steps()) if "coded_events" in step.script)
    assert "recorded_events" not in chunks.script
