"""Settings: precedence of arguments and environment, and invalid values."""

import pytest

from loader.config import settings
from loader.errors import UsageError
from loader.postgres.connection import connect

ENVIRONMENT = {"SELLIGENT_DATABASE_URL": "a", "DATABASE_URL": "b", "SELLIGENT_SCHEMA": "s"}


def test_flags_come_before_the_environment_and_ours_before_the_general_variable() -> None:
    assert settings("flag", "other", ENVIRONMENT).database_url == "flag"
    assert settings(environment=ENVIRONMENT).database_url == "a"
    assert settings(environment={"DATABASE_URL": "b"}).database_url == "b"
    assert settings(environment={}).database_url is None
    assert (settings(environment={}).schema, settings(environment=ENVIRONMENT).schema) == ("selligent", "s")


def test_the_url_is_not_in_the_repr() -> None:
    assert "secret" not in repr(settings("postgresql://u:secret@h/d", environment={}))


@pytest.mark.parametrize("schema", ["x" * 60, "pg_mine", "a\0b", "100%"])
def test_a_schema_that_cannot_be_is_refused(schema: str) -> None:
    with pytest.raises(UsageError, match="cannot be used"):
        settings(schema=schema, environment={})


@pytest.mark.parametrize("url", ["postgresql://u:se@cret@127.0.0.1:1/d", "postgresql//u:secret@h", "host=h secret"])
def test_a_url_that_cannot_be_read_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UsageError, match="percent-encoded") as caught:
        connect(url)
    assert "cret" not in str(caught.value)
