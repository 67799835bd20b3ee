"""The log of erasures, and the certificates that are made of it. People are in it as keyed hashes only."""

import getpass
import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from loader.errors import UsageError
from loader.pipeline.suppression import read_key
from loader.postgres.connection import Warehouse
from loader.privacy.subjects import Subject
from loader.version import __version__

_FIELDS = (
    *("erasure_id", "subject", "mode", "status", "requested_at", "finished_at", "requested_by", "identities"),
    *("removed", "unreachable"),
)
_SELECT = f"select {', '.join(_FIELDS)} from erasures".replace("subject,", "encode(subject, 'hex'),")
#: A request that was interrupted is continued.
_CONTINUE = "select erasure_id from erasures where (subject, mode) = (%s, %s) and status <> 'done' order by erasure_id"
_BEGIN = """
    insert into erasures (subject, mode, status, requested_by, identities)
    values (%s, %s, 'running', %s || ', as ' || current_user, %s) returning erasure_id
"""
#: Counts add up, so that those of an interrupted run are kept.
_ADD = """
    update erasures set status = coalesce(%s, status), removed = removed || (
        select coalesce(jsonb_object_agg(new.key, new.value::bigint + coalesce((removed ->> new.key)::bigint, 0)), '{}')
        from jsonb_each_text(%s::jsonb) as new
    )
    where erasure_id = %s
"""
_FINISH = """
    update erasures set status = 'done', finished_at = clock_timestamp(), unreachable = %s::jsonb where erasure_id = %s
"""


def begin_erasure(warehouse: Warehouse, subject: Subject, mode: str, identities: int) -> int:
    """Record that a person is being erased, in the current transaction; return the number of the erasure."""
    digest = read_key(warehouse).digest("\0".join(subject.names))
    if known := warehouse.fetch(_CONTINUE, digest, mode):
        return int(known[0][0])
    ((number,),) = warehouse.fetch(_BEGIN, digest, mode, _caller(), identities)
    return int(number)


def _caller() -> str:
    user = "unknown"
    with suppress(OSError, KeyError):
        user = getpass.getuser()
    return f"{user} on {socket.gethostname()}"


def record_removed(warehouse: Warehouse, erasure_id: int, counts: Mapping[str, int], status: str | None = None) -> None:
    """Add what has been removed to an erasure, and set its status, in the current transaction."""
    found = json.dumps({place: count for place, count in sorted(counts.items()) if count})
    warehouse.fetch(_ADD, status, found, erasure_id)


def finish_erasure(warehouse: Warehouse, erasure_id: int, unreachable: Sequence[Mapping[str, str]]) -> None:
    """Record that a person is erased, and what could not be reached, in the current transaction."""
    warehouse.fetch(_FINISH, json.dumps(unreachable), erasure_id)


def list_erasures(warehouse: Warehouse, limit: int) -> list[dict[str, Any]]:
    """Return the newest erasures."""
    with warehouse.transaction():
        rows = warehouse.fetch(f"{_SELECT} order by erasure_id desc limit %s", limit)
    return [dict(zip(_FIELDS, row, strict=True)) for row in rows]


def read_certificate(warehouse: Warehouse, erasure_id: int) -> dict[str, Any]:
    """Return the certificate of an erasure.

    Its `seal` is a keyed hash of all other fields: the source that made it can prove that it did.
    Raises UsageError if there is no erasure with this number.
    """
    with warehouse.transaction():
        rows = warehouse.fetch(f"{_SELECT} where erasure_id = %s", erasure_id)
        if not rows:
            raise UsageError(f"there is no erasure {erasure_id}; `selligent-loader privacy log` lists them")
        found = {"source": warehouse.schema, "software": f"selligent-loader {__version__}"}
        found |= json.loads(json.dumps(dict(zip(_FIELDS, rows[0], strict=True)), default=str))
        return {**found, "seal": seal(warehouse, found)}


def seal(warehouse: Warehouse, certificate: Mapping[str, Any]) -> str:
    """Return the seal of a certificate without one."""
    return read_key(warehouse).digest(f"certificate {json.dumps(certificate, sort_keys=True)}").hex()
