"""Create, import, list and revoke write keys. The database stores only their hashes."""

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
    """A valid write key: the schema of its source, its number and its SHA-256 digest."""

    schema: str
    key_id: int
    digest: bytes


def digest(key: str) -> bytes:
    """Return the SHA-256 digest of a key.

    A fast hash is enough, because generated keys have 192 random bits.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def find_key(keys: Iterable[Key], key: str) -> Key | None:
    """Return the key that matches the one given, or None. The time taken does not depend on the given key."""
    given, found = digest(key), None
    for known in keys:
        if hmac.compare_digest(known.digest, given):
            found = known
    return found


def create_key(warehouse: Warehouse, label: str) -> str:
    """Store a new key and return it; it cannot be read again later."""
    key = secrets.token_urlsafe(24)
    import_key(warehouse, key, label)
    return key


def import_key(warehouse: Warehouse, key: str, label: str) -> int:
    """Store a key that a sender already uses, or make it valid again, and return its number.

    Raises UsageError for a key that is too short, or has characters that cannot be sent as a user name.
    """
    if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or set(key) & set(" :"):
        raise UsageError(
            f"the key cannot be used; it needs at least {MIN_KEY_LENGTH} ASCII characters, without blanks and colons"
        )
    with warehouse.transaction():
        ((key_id,),) = warehouse.fetch(_CREATE, label, digest(key))
    return int(key_id)


def revoke_key(warehouse: Warehouse, key_id: int) -> str:
    """Revoke a key and return its label; servers refuse it within twice KEY_REFRESH_SECONDS.

    Raises UsageError if there is no key with this number.
    """
    with warehouse.transaction():
        found = warehouse.fetch(_REVOKE, key_id)
    if not found:
        raise UsageError(f"there is no key {key_id}; `selligent-loader keys list` lists them")
    return str(found[0][0])


def list_keys(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return all keys, revoked ones too, without the keys themselves."""
    with warehouse.transaction():
        rows = warehouse.fetch(_LIST)
    names = "key_id", "label", "created_at", "last_used_at", "revoked_at"
    return [dict(zip(names, row, strict=True)) for row in rows]


def valid_keys(warehouse: Warehouse) -> list[Key]:
    """Return the keys that are not revoked."""
    with warehouse.transaction():
        return [Key(warehouse.schema, key_id, bytes(known)) for key_id, known in warehouse.fetch(_VALID)]


def record_use(warehouse: Warehouse, used: Mapping[int, datetime]) -> None:
    """Record when keys were last used, by key number."""
    with warehouse.transaction():
        warehouse.fetch(_USED, list(used), list(used.values()))
