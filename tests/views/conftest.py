"""A connection for tests of the views."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from loader.config import Settings


@pytest.fixture
def connection(settings: Settings) -> Iterator[Connection[Any]]:
    """A connection that finds the views and the tables behind them without their schemas."""
    with psycopg.connect(settings.database_url or "", autocommit=True) as connection:
        connection.execute("set search_path to selligent, selligent_ops")
        yield connection
