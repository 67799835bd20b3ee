"""Secrets are encrypted with a key outside the database."""

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from loader.errors import UsageError
from loader.forwarding.secrets import decrypt, encrypt, key_file

SECRET = "s3cret-of-the-target"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELLIGENT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELLIGENT_SECRET_KEY", raising=False)


def test_the_first_use_creates_a_key_that_only_its_owner_can_read() -> None:
    encrypted = encrypt(SECRET)
    assert SECRET.encode() not in encrypted
    assert key_file().stat().st_mode & 0o777 == 0o600
    assert list(key_file().parent.iterdir()) == [key_file()]
    key = key_file().read_bytes()
    assert decrypt(encrypted) == SECRET
    assert encrypt(SECRET) != encrypted
    assert key_file().read_bytes() == key


def test_the_variable_comes_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SELLIGENT_SECRET_KEY", Fernet.generate_key().decode())
    encrypted = encrypt(SECRET)
    assert decrypt(encrypted) == SECRET
    assert not key_file().exists()
    monkeypatch.setenv("SELLIGENT_SECRET_KEY", Fernet.generate_key().decode())
    with pytest.raises(UsageError, match="another key"):
        decrypt(encrypted)


def test_a_missing_key_is_not_replaced_when_a_secret_is_read() -> None:
    encrypted = encrypt(SECRET)
    key_file().unlink()
    with pytest.raises(UsageError, match="restore it"):
        decrypt(encrypted)
    assert not key_file().exists()


def test_a_key_that_others_can_read_or_that_is_invalid_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encrypted = encrypt(SECRET)
    key_file().chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        decrypt(encrypted)
    monkeypatch.setenv("SELLIGENT_SECRET_KEY", "short-key")
    with pytest.raises(UsageError, match="no valid key") as raised:
        encrypt(SECRET)
    assert "short-key" not in str(raised.value)
