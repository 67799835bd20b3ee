"""Encrypt the secrets of integrations with a key that is not in the database."""

import os
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from loader.config import home, make_private
from loader.errors import UsageError

VARIABLE = "SELLIGENT_SECRET_KEY"


def key_file() -> Path:
    """Return the file with the key, which is used without the environment variable."""
    return home() / "secret.key"


def encrypt(secret: str) -> bytes:
    """Return an encrypted secret. Creates the key if there is none.

    Raises UsageError if the key is invalid or cannot be stored.
    """
    return _cipher(is_creating=True).encrypt(secret.encode())


def decrypt(encrypted: bytes) -> str:
    """Return a secret.

    Raises UsageError if the key is missing or is not the one that encrypted it.
    """
    try:
        return _cipher(is_creating=False).decrypt(encrypted).decode()
    except InvalidToken:
        raise UsageError(
            f"a secret was encrypted with another key; set {VARIABLE} or restore {str(key_file())!r}, or remove the "
            "integration and add it again"
        ) from None


def _cipher(*, is_creating: bool) -> Fernet:
    key = os.environ.get(VARIABLE) or _read_key(is_creating=is_creating)
    try:
        return Fernet(key)
    except ValueError:
        place = VARIABLE if os.environ.get(VARIABLE) else repr(str(key_file()))
        raise UsageError(f"{place} has no valid key; it has 32 random bytes in URL-safe base64") from None


def _read_key(*, is_creating: bool) -> str:
    """Return the key in the file; create the file with a new key if it is missing and `is_creating`."""
    path = key_file()
    try:
        if is_creating:
            make_private(path.parent)
            _create_key(path)
        if path.stat().st_mode & 0o077:
            raise UsageError(f"others can read {str(path)!r}; run `chmod 600 {path}`")
        return path.read_text("ascii").strip()
    except OSError as exc:
        raise UsageError(
            f"the key for secrets {str(path)!r} cannot be used: {exc.strerror}; restore it, or set {VARIABLE}"
        ) from exc


def _create_key(path: Path) -> None:
    """Write a new key, unless there is one. Of two processes at once, one writes."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    if path.exists():
        return
    handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(Fernet.generate_key() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):  # unlike a rename, it does not replace the key of another process
            path.hardlink_to(part)
    finally:
        part.unlink()
