"""Create, import, list and revoke write keys. The database stores only their hashes."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loader.config import ops_schema
from loader.endpoint.limits import MAX_CLIENT_LENGTH, MAX_ORIGIN_LENGTH, MAX_ORIGINS, MIN_KEY_LENGTH
from loader.errors import UsageError
from loader.postgres.connection import Warehouse
from loader.quoting import quote_identifier
from loader.schema.source import key_schemas
from loader.spool.segments import site_log

#: An origin of a page (RFC 6454): scheme, host, and the port if it is not the scheme's.
_ORIGIN = re.compile(
    r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?|[a-z][a-z0-9+.-]*://[A-Za-z0-9._-]+"
)
#: A product of a `User-Agent` header (RFC 9110, 10.1.5), with fewer characters than the standard allows: no address.
_PRODUCT = re.compile(rb"([A-Za-z][A-Za-z0-9._-]*(?:/[A-Za-z0-9.+_-]+)?)(?=[\s;(,]|$)")

_CREATE = """
    insert into write_keys (label, hash, allowed_origins, is_site) values (%s, %s, %s, %s)
    on conflict (hash) do update
        set revoked_at = null, label = excluded.label, allowed_origins = excluded.allowed_origins,
            is_site = excluded.is_site
    returning key_id
"""
_REVOKE = "update write_keys set revoked_at = coalesce(revoked_at, now()) where key_id = %s returning label"
_LIST = """
    select key_id, label, created_at, last_used_at, last_client, allowed_origins, revoked_at, is_site from write_keys
    order by key_id
"""
_VALID = "select key_id, hash, allowed_origins, is_site from write_keys where revoked_at is null order by key_id"
_USED = """
    update write_keys set last_used_at = greatest(last_used_at, used_at),
        last_client = case
            when last_used_at > used_at then last_client else coalesce(used.client, write_keys.last_client)
        end
    from unnest(%s::bigint[], %s::timestamptz[], %s::text[]) as used (key_id, used_at, client)
    where used.key_id = write_keys.key_id
"""
_IS_IN = "select exists (select from {ops}.write_keys where hash = %s and revoked_at is null)"


@dataclass(frozen=True, slots=True)
class Key:
    """A valid write key: the schema of its source, its number and its SHA-256 digest."""

    schema: str
    key_id: int
    digest: bytes
    #: Origins of pages whose scripts may read the answers of the endpoint.
    origins: tuple[str, ...] = field(default=(), hash=False)
    #: Whether its calls are those of the company's site and apps, not e-mail events.
    is_site: bool = False

    @property
    def log(self) -> str:
        """The log of the spool that its calls are written to."""
        return site_log(self.schema) if self.is_site else self.schema


def digest(key: str) -> bytes:
    """Return the SHA-256 digest of a key.

    A fast hash is enough, because generated keys have 192 random bits.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def find_keys(keys: Iterable[Key], key: str) -> tuple[Key, ...]:
    """Return the keys of all sources that match the one given. The time taken does not depend on the given key."""
    given = digest(key)
    return tuple([known for known in keys if hmac.compare_digest(known.digest, given)])


def create_key(warehouse: Warehouse, label: str, origins: Sequence[str] = (), *, is_site: bool = False) -> str:
    """Store a new key and return it; it cannot be read again later.

    The calls of a site's key go to integrations only, and to no table.

    Raises UsageError for an origin that is not valid.
    """
    key = secrets.token_urlsafe(24)
    import_key(warehouse, key, label, origins, is_site=is_site)
    return key


def import_key(  # noqa: PLR0913
    warehouse: Warehouse,
    key: str,
    label: str,
    origins: Sequence[str] = (),
    *,
    is_shared: bool = False,
    is_site: bool = False,
) -> int:
    """Store a key that a sender already uses, or make it valid again, and return its number.

    Raises UsageError for a key that is too short, or has characters that cannot be sent as a user name, for an origin
    that is not valid, and, unless `is_shared`, for a key of another source.
    """
    if len(key) < MIN_KEY_LENGTH or not key.isascii() or not key.isprintable() or set(key) & set(" :"):
        raise UsageError(
            f"the key cannot be used; it needs at least {MIN_KEY_LENGTH} ASCII characters, without blanks and colons"
        )
    allowed = check_origins(origins)
    with warehouse.transaction():
        others = [] if is_shared else _other_sources(warehouse, digest(key))
        if others:
            raise UsageError(
                f"the key is already valid for the source {others[0]!r}; revoke it there, or use --also to send its "
                "events to both"
            )
        ((key_id,),) = warehouse.fetch(_CREATE, label, digest(key), allowed, is_site)
    return int(key_id)


def _other_sources(warehouse: Warehouse, known: bytes) -> list[str]:
    """Return the schemas of other sources of the database in which a key is valid, by its digest."""
    schemas = [schema for schema in key_schemas(warehouse) if schema != warehouse.schema]
    query = {schema: _IS_IN.format(ops=quote_identifier(ops_schema(schema))) for schema in schemas}
    return [schema for schema in schemas if warehouse.fetch(query[schema], known) == [(True,)]]


def check_origins(origins: Sequence[str]) -> list[str]:
    """Return origins of pages as browsers send them.

    Raises UsageError for one that is not an origin.

    >>> check_origins(["https://Example.com", "http://localhost:3000"])
    ['https://example.com', 'http://localhost:3000']
    """
    for origin in origins:
        if len(origin) > MAX_ORIGIN_LENGTH or not _ORIGIN.fullmatch(origin):
            raise UsageError(f"{origin!r} is not an origin; write scheme, host and port, as in 'https://example.com'")
    if len(origins) > MAX_ORIGINS:
        raise UsageError(f"a key can have at most {MAX_ORIGINS} origins")
    return list(dict.fromkeys(origin.lower() for origin in origins))


def client_name(user_agent: bytes) -> str | None:
    """Return the first product of a `User-Agent` header, which names a client library; None without one.

    >>> client_name(b"analytics-java/3.5.1 (mail@example.com)"), client_name(b"mail@example.com")
    ('analytics-java/3.5.1', None)
    """
    found = _PRODUCT.match(user_agent[:200])
    return found[1].decode()[:MAX_CLIENT_LENGTH] if found else None


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
    names = "key_id", "label", "created_at", "last_used_at", "last_client", "allowed_origins", "revoked_at", "is_site"
    return [dict(zip(names, row, strict=True)) for row in rows]


def valid_keys(warehouse: Warehouse) -> list[Key]:
    """Return the keys that are not revoked."""
    with warehouse.transaction():
        rows = warehouse.fetch(_VALID)
    return [
        Key(warehouse.schema, key_id, bytes(known), tuple(origins), is_site) for key_id, known, origins, is_site in rows
    ]


def record_use(warehouse: Warehouse, used: Mapping[int, tuple[datetime, str | None]]) -> None:
    """Record when keys were last used and by which client, by key number."""
    with warehouse.transaction():
        warehouse.fetch(_USED, list(used), *([use[i] for use in used.values()] for i in range(2)))
