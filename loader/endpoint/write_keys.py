"""Keys: the write keys with which senders may send; the database has their hashes only."""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loader.endpoint.limits import MIN_KEY_LENGTH
from loader.errors import UsageError
from loader.postgres.connection import Warehouse

_CREATE = """
    insert into write_keys (label, hash) values (%s, %s)
    on conflict (hash) do update set revoked_at = null, label = excluded.label
    returning key_id
"""
_REVOKE = "update write_keys set revoked_at = coalesce(revoked_at, now()) where key_id = %s returning label"
_LIST = "select key_id, label, created_at, last_used_at, revoked_at from write_keys order by key_id"
_VALID = "select key_id, hash from write_keys where revoked_at is null order by key_id"
_USED = """
    update write_keys set last_used_at = greatest(last_used_at, used_at)
    from unnest(%s::bigint[], %s::timestamptz[]) as used (key_id, used_at) where used.key_id = write_keys.key_id
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A valid key: whose events come with it, and its hash."""

    schema: str
    key_id: int
    digest: bytes


def digest(key: str) -> bytes:
    """Return the hash under which a key is known.

    A fast one is enough: our keys have 192 random bits, which nobody finds by trying.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def find_key(keys: Iterable[Key], key: str) -> Key | None:
    """Return the valid key that a sender gave; it takes as long for a wrong one, however wrong."""
    given, found = digest(key), None
    for known in keys:
        if hmac.compare_digest(known.digest, given):
            found = known
    return found


def create_key(warehouse: Warehouse, label: str) -> str:
    """Return a new key, which cannot be shown again."""
    key = secrets.token_urlsafe(24)
    import_key(warehouse, key, label)
    return key


def import_key(warehouse: Warehouse, key: str, label: str) -> int:
    """Make a key valid that a sender uses already, and return its number.

    Raises UsageError for one that could be guessed, or not be sent.
    """
    if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or set(key) & set(" :"):
        raise UsageError(
            f"the key cannot be used; it needs at least {MIN_KEY_LENGTH} characters, ASCII, without blanks and colons"
        )
    with warehouse.transaction():
        ((key_id,),) = warehouse.fetch(_CREATE, label, digest(key))
    return int(key_id)


def revoke_key(warehouse: Warehouse, key_id: int) -> str:
    """Make a key invalid, and return its label; servers know within seconds."""
    with warehouse.transaction():
        found = warehouse.fetch(_REVOKE, key_id)
    if not found:
        raise UsageError(f"there is no key {key_id}; `selligent-loader keys list` shows them")
    return str(found[0][0])


def list_keys(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return what is known of all keys, revoked ones too."""
    with warehouse.transaction():
        rows = warehouse.fetch(_LIST)
    names = "key_id", "label", "created_at", "last_used_at", "revoked_at"
    return [dict(zip(names, row, strict=True)) for row in rows]


def valid_keys(warehouse: Warehouse) -> list[Key]:
    """Return the keys with which events are taken."""
    with warehouse.transaction():
        return [Key(warehouse.schema, key_id, bytes(known)) for key_id, known in warehouse.fetch(_VALID)]


def record_use(warehouse: Warehouse, used: Mapping[int, datetime]) -> None:
    """Write when keys were last used."""
    with warehouse.transaction():
        warehouse.fetch(_USED, list(used), list(used.values()))
