"""Write keys and sources: their storage, checks and commands."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from loader.cli.main import run
from loader.config import Settings
from loader.endpoint.write_keys import (
    client_name,
    create_key,
    find_keys,
    import_key,
    list_keys,
    record_use,
    revoke_key,
    valid_keys,
)
from loader.errors import UsageError
from loader.migrate import migrate
from loader.schema.source import open_warehouse
from tests.support.loading import select


def command(capsys: pytest.CaptureFixture[str], settings: Settings, *arguments: str) -> tuple[int, str, str]:
    code = run([*arguments, "--database-url", str(settings.database_url), "--schema", settings.schema])
    run_json = capsys.readouterr()
    return code, run_json.out, run_json.err


def run_json(capsys: pytest.CaptureFixture[str], settings: Settings, *arguments: str) -> Any:
    code, out, err = command(capsys, settings, *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_a_key_lets_in_until_it_is_revoked(settings: Settings) -> None:
    with open_warehouse(settings) as warehouse:
        keys = [create_key(warehouse, f"sender {n}") for n in range(2)]
        found = [find_keys(valid_keys(warehouse), key) for key in keys]
        assert [(key.schema, key.key_id) for (key,) in found] == [("selligent", 1), ("selligent", 2)]
        assert revoke_key(warehouse, 1) == "sender 0"
        assert [bool(find_keys(valid_keys(warehouse), key)) for key in keys] == [False, True]
        for wrong in ("", keys[0], keys[1][:-1], keys[1] + "x", keys[1].swapcase(), "\0", "\ud800"):
            assert find_keys(valid_keys(warehouse), wrong) == ()
        with pytest.raises(UsageError, match="there is no key 7"):
            revoke_key(warehouse, 7)


def test_the_database_has_the_hash_of_a_key_only(settings: Settings) -> None:
    with open_warehouse(settings) as warehouse:
        key = create_key(warehouse, "Selligent")
    (row,) = select(settings, "select * from write_keys")
    assert len(key) == 32
    assert len(row["hash"]) == 32
    assert key not in str(row)
    assert key.encode().hex() not in str(row)


def test_when_a_key_was_last_used_is_known(settings: Settings) -> None:
    moment = datetime(2025, 1, 2, tzinfo=UTC)
    with open_warehouse(settings) as warehouse:
        create_key(warehouse, "Selligent")
        record_use(warehouse, {1: (moment, "analytics-java/3.5.1")})
        # Another server, which could not reach the database for a day.
        record_use(warehouse, {1: (datetime(2025, 1, 1, tzinfo=UTC), "curl/8.5.0")})
        (key,) = list_keys(warehouse)
        assert (key["last_used_at"], key["last_client"]) == (moment, "analytics-java/3.5.1")
        record_use(warehouse, {1: (moment, None)})
        assert list_keys(warehouse)[0]["last_client"] == "analytics-java/3.5.1"


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (b"analytics-java/3.5.1", "analytics-java/3.5.1"),
        (b"analytics-go (version: 3.0.0)", "analytics-go"),
        (b"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "Mozilla/5.0"),
        (b"python-httpx/0.28.1", "python-httpx/0.28.1"),
        (b"x" * 80, "x" * 50),
        (b"", None),
        (b"jane@example.com", None),
        (b"jane.doe@example.com/1", None),
        (b"\xff\xfe/1", None),
        (b"a\x00b/1", None),
    ],
)
def test_of_a_client_only_its_product_is_stored(user_agent: bytes, name: str | None) -> None:
    assert client_name(user_agent) == name


@pytest.mark.parametrize("origin", ["*", "null", "example.com", "https://example.com/", "https://a b", "", "https://"])
def test_what_is_no_origin_is_not_stored(settings: Settings, origin: str) -> None:
    with open_warehouse(settings) as warehouse, pytest.raises(UsageError, match="is not an origin"):
        create_key(warehouse, "x", [origin])


def test_a_key_of_another_source_is_imported_only_if_that_is_meant(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Settings(settings.database_url, "other")
    migrate(other)
    key = command(capsys, settings, "keys", "create")[1]

    def imports(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(key))
        return command(capsys, other, "keys", "import", *options)

    code, out, err = imports()
    assert (code, out) == (2, "")
    assert "already valid for the source 'selligent'" in err
    assert "--also" in err
    assert select(other, "select from write_keys") == []
    assert imports("--also")[0] == 0
    with open_warehouse(settings) as here, open_warehouse(other) as there:
        found = find_keys([*valid_keys(here), *valid_keys(there)], key.strip())
        assert [known.schema for known in found] == ["selligent", "other"]
        revoke_key(here, 1)
    assert imports()[0] == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(key))
    assert command(capsys, settings, "keys", "import")[0] == 2  # it is valid in the other one now


@pytest.mark.parametrize(
    "key", ["", "short", "with a blank inside", "with:a:colon:inside", "kéy-of-a-sender-öäü", "a\tb" * 9]
)
def test_a_key_that_can_be_guessed_or_not_be_sent_is_not_imported(settings: Settings, key: str) -> None:
    with open_warehouse(settings) as warehouse, pytest.raises(UsageError, match="at least 16 ASCII characters"):
        import_key(warehouse, key, "x")


def test_keys_from_the_command_line(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (
        command(capsys, settings, "keys", "list")[1]
        == "no write key exists; create one with `selligent-loader keys create`\n"
    )
    key = command(capsys, settings, "keys", "create")[1].strip()
    monkeypatch.setattr("sys.stdin", io.StringIO("AbCdEfGhIjKlMnOpQrStUvWxYz012345\n"))
    assert run_json(capsys, settings, "keys", "import", "--label", "old") == {"key_id": 2, "label": "old"}
    code, out, _ = command(capsys, settings, "keys", "revoke", "1")
    assert (code, out) == (0, "key 1 (Selligent) is revoked\n")
    listed = run_json(capsys, settings, "keys", "list")["keys"]
    assert [(row["label"], row["revoked_at"] is None) for row in listed] == [("Selligent", False), ("old", True)]
    assert key not in str(listed)
    assert command(capsys, settings, "keys", "revoke", "9")[0] == 2
    with open_warehouse(settings) as warehouse:
        assert find_keys(valid_keys(warehouse), "AbCdEfGhIjKlMnOpQrStUvWxYz012345")


def test_init_prints_the_overview_with_the_key_once(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    init = "init", "--nickname", "Our e-mails", "--endpoint", "https://events.example.com"
    code, out, err = command(capsys, settings, *init)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    key = next(line.split()[-1] for line in lines if line.startswith("write key"))
    assert "nickname    Our e-mails" in lines
    assert "schema      selligent" in lines
    assert "endpoint    https://events.example.com" in lines
    assert f"  with the write key {key}." in lines
    assert lines[-1] == "next: selligent-loader serve --schema selligent"
    with open_warehouse(settings) as warehouse:
        assert find_keys(valid_keys(warehouse), key)
    again = command(capsys, settings, *init)[1]
    assert key not in again
    assert "shown when it was created" in again
    assert len(run_json(capsys, settings, "keys", "list")["keys"]) == 1


def test_init_without_a_nickname_makes_no_key(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(capsys, settings, "init")[1].splitlines()[-1] == "next: selligent-loader load PATH"
    assert select(settings, "select from write_keys") == []


def test_the_sources_of_a_database_are_listed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    other = Settings(settings.database_url, "other-ops")
    migrate(other)
    run_json(capsys, settings, "init", "--nickname", "Selligent")
    found = run_json(capsys, other, "sources", "list")["sources"]
    assert [(row["nickname"], row["schema"], row["keys"], row["newest_event"]) for row in found] == [
        ("other-ops", "other-ops", 0, None),
        ("Selligent", "selligent", 1, None),
    ]
    with open_warehouse(settings) as warehouse:
        record_use(warehouse, {1: (datetime(2025, 1, 2, tzinfo=UTC), "analytics-java/3.5.1")})
    row = run_json(capsys, other, "sources", "list")["sources"][1]
    assert (row["last_key"], row["last_client"]) == ("1 (Selligent)", "analytics-java/3.5.1")
    assert row["last_used"].startswith("2025-01-02")
    assert "Selligent" in command(capsys, other, "sources", "list")[1]
