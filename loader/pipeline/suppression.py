"""The people whose events are not loaded: a list of keyed hashes, and the events of a batch that are theirs.

A hash is HMAC-SHA256 with a key of the source. It would take too long for each event, so a list has a sieve before it:
24 bits of a keyed hash that numpy computes for all values of a column at once (multilinear, Carter and Wegman 1979). Of
a list with 100,000 people some 0.6 % of all others pass the sieve; only what passes is hashed.

Each change of the list raises its version. A load checks the version in the transaction of each chunk, under a lock
that changes of the list take too: once a change is committed, no later chunk has an event of these people.
"""

import hashlib
import hmac
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from loader.events.identities import find_identities, name_person
from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse
from loader.schema.event_tables import TRACKS
from loader.transform.batch import Batch

Numbers = npt.NDArray[np.uint64]

SIEVE_BITS, DIGEST_BYTES = 24, 32
#: Offsets of the words of 8 bytes that the sieve reads from the start of a value; it reads the last 8 bytes too.
_WORDS = (0, 8, 16, 24)
_VERSION = "select version from suppression_key"
_LIST = """
    select key, version, (select coalesce(string_agg(digest, '' order by digest), '') from suppressed),
        (select coalesce(string_agg(int4send(sieve), ''), '') from suppressed)
    from suppression_key
"""
_ADD = """
    insert into suppressed (digest, sieve, reason) select *, %s from unnest(%s::bytea[], %s::int[])
    on conflict (digest) do nothing
"""
_REMOVE = "delete from suppressed where digest = any(%s)"
_CHANGED = "update suppression_key set version = version + 1"


@dataclass(frozen=True, slots=True)
class SuppressionKey:
    """The secret key of a source's hashes."""

    key: bytes = field(repr=False)

    def digest(self, name: str) -> bytes:
        """Return the hash of an identity: a user id, or an address in one spelling."""
        return hmac.digest(self.key, name.encode("utf-8", "surrogatepass"), "sha256")

    def sieve(self, values: pa.Array) -> npt.NDArray[np.int64]:
        """Return SIEVE_BITS of a hash for each of some texts, an Arrow array of strings."""
        _, offsets, content = values.buffers()
        ends = np.frombuffer(offsets, "<i4")[values.offset : values.offset + len(values) + 1].astype(np.int64)
        # Each byte may begin a word; the words at the end read zeros.
        content = np.concatenate([np.frombuffer(content or b"", np.uint8)[: ends[-1]], np.zeros(40, np.uint8)])
        words: Numbers = np.ndarray((len(content) - 7,), "<u8", content, strides=(1,))
        starts, sizes = ends[:-1], np.diff(ends)
        factors = np.frombuffer(hashlib.blake2b(b"sieve", key=self.key, digest_size=64).digest(), "<u8") | np.uint64(1)
        total = sizes.astype(np.uint64) * factors[0]
        for factor, place in zip(factors[1:], _WORDS, strict=False):
            total += _masked(words[starts + np.minimum(place, sizes)], sizes - place) * factor
        total += words[np.maximum(starts, ends[1:] - 8)] * np.where(sizes >= 8, factors[5], np.uint64(0))
        total = (total ^ (total >> np.uint64(32))) * factors[6]
        sieve: npt.NDArray[np.int64] = (total >> np.uint64(64 - SIEVE_BITS)).astype(np.int64)
        return sieve


def _masked(words: Numbers, sizes: npt.NDArray[np.int64]) -> Numbers:
    """Return words without the bytes that lie behind the end of their values."""
    bits = np.clip(8 - sizes, 0, 8).astype(np.uint64) * np.uint64(8)
    kept = np.where(bits < 64, np.uint64(2**64 - 1) >> np.minimum(bits, np.uint64(63)), np.uint64(0))
    return words & kept


@dataclass(frozen=True, slots=True)
class SuppressionList:
    """The suppressed people of a source, as of a version of the list."""

    key: SuppressionKey
    version: int
    #: All hashes in order, one behind the other: 100,000 objects would take a load longer than all look-ups.
    digests: bytes
    #: Whether a value of the sieve is that of a suppressed person.
    sieve: npt.NDArray[np.bool_]

    def has(self, name: str | None) -> bool:
        """Return whether an identity, a user id or an address in one spelling, is suppressed."""
        if not name:
            return False
        places, digest = range(len(self.digests) // DIGEST_BYTES), self.key.digest(name)
        found = bisect_left(places, digest, key=self._at)
        return found < len(places) and self._at(found) == digest

    def _at(self, place: int) -> bytes:
        return self.digests[place * DIGEST_BYTES : (place + 1) * DIGEST_BYTES]

    def has_any(self, user_id: str | None, *others: str | None) -> bool:
        """Return whether one of an event's identities is suppressed: user id, anonymous id, addresses."""
        return bool(self.digests) and any(map(self.has, name_person(user_id, *others)))

    def mentions(self, raw: bytes) -> bool:
        """Return whether bytes of any format name a suppressed person."""
        return bool(self.digests) and any(map(self.has, find_identities(raw)))

    def find(self, rows: pa.Table) -> list[int]:
        """Return the places of the rows of `tracks` that are events of suppressed people."""
        found: set[int] = set()
        for name in ("user_id", "anonymous_id", "context_traits_email"):
            if name in rows.column_names and rows[name].null_count < len(rows):
                column = rows[name].cast(pa.string())
                found.update(self._find(column.combine_chunks(), is_user=name == "user_id"))
        return sorted(found)

    def _find(self, values: pa.Array, *, is_user: bool) -> list[int]:
        values = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
        lower = pc.ascii_lower(values)
        candidates = set(self._sift(lower))
        if is_user and not lower.equals(values):
            candidates.update(self._sift(values))
        candidates.update(_unusual(values))
        places = pa.array(sorted(candidates), pa.int64())
        sent = zip(places.to_pylist(), values.take(places).to_pylist(), strict=True)
        return [n for n, text in sent if text and (self.has_any(text) if is_user else self.has_any(None, text))]

    def _sift(self, values: pa.Array) -> list[int]:
        return np.flatnonzero(self.sieve[self.key.sieve(values)]).tolist()


def _unusual(values: pa.Array) -> list[int]:
    """Return the places of texts with blanks or characters that are not of ASCII, which have several spellings."""
    _, offsets, content = values.buffers()
    ends = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    text = np.frombuffer(content or b"", np.uint8)[ends[0] : ends[-1]]
    odd = np.flatnonzero((text - np.uint8(33)) > 93)
    return np.unique(np.searchsorted(ends, odd + ends[0], side="right") - 1).tolist()  # type: ignore[no-any-return]


def read_suppression_list(warehouse: Warehouse) -> SuppressionList:
    """Return the list as it is now, in the current transaction."""
    ((key, version, digests, sieves),) = warehouse.fetch(_LIST)
    sieve = np.zeros(1 << SIEVE_BITS if digests else 1, np.bool_)
    sieve[np.frombuffer(sieves, ">i4")] = True
    return SuppressionList(SuppressionKey(bytes(key)), version, bytes(digests), sieve)


class Suppression:
    """The list as one process knows it, and the events that it drops."""

    def __init__(self, warehouse: Warehouse) -> None:
        """Read the list, in a transaction of its own."""
        self._warehouse = warehouse
        with warehouse.transaction():
            self.list = read_suppression_list(warehouse)

    def is_changed(self) -> bool:
        """Return whether the list has changed, and read it again then, in the current transaction."""
        ((version,),) = self._warehouse.fetch(_VERSION)
        if version == self.list.version:
            return False
        self.list = read_suppression_list(self._warehouse)
        return True

    def lock(self) -> bool:
        """Keep the list as it is until the current transaction ends; return whether it had to be read again."""
        self._warehouse.fetch(
            "select pg_advisory_xact_lock_shared(%s, hashtext(%s))", advisory_locks.SUPPRESSION, self._warehouse.ops
        )
        return self.is_changed()

    def drop(self, batch: Batch) -> Batch:
        """Return a batch without the events and the rejects of suppressed people, which are counted, once."""
        found = self.list
        if not found.digests or batch.suppression == found.version:
            return batch
        batch = replace(drop_rejects(batch, found), suppression=found.version)
        if not batch.parts:
            return batch
        tracks = batch.parts[TRACKS]
        places = pa.array(found.find(tracks.rows), pa.int64())
        if not len(places):
            return batch
        numbers = tracks.numbers.take(places).to_pylist()
        keys = _keys(tracks.rows.take(places)) if batch.repeated else set()
        repeated = [event for event in batch.repeated if event.key not in keys]
        dropped = len(numbers) + len(batch.repeated) - len(repeated)
        kept = batch.without(numbers)
        counts = Counter(batch.others) + Counter(events_suppressed=dropped)
        return replace(kept, repeated=repeated, others=counts)


def _keys(rows: pa.Table) -> set[tuple[str, int | None]]:
    times = rows["original_timestamp"].cast(pa.int64()).to_pylist()
    return set(zip(rows["id"].to_pylist(), times, strict=True))


def drop_rejects(batch: Batch, found: SuppressionList) -> Batch:
    """Return a batch without the rejects of suppressed people, which are counted."""
    rejects = [reject for reject in batch.rejects if not found.mentions(reject.raw)] if found.digests else batch.rejects
    if len(rejects) == len(batch.rejects):
        return batch
    dropped = Counter(events_suppressed=len(batch.rejects) - len(rejects))
    return replace(batch, rejects=rejects, others=Counter(batch.others) + dropped)


def change_list(
    warehouse: Warehouse, *, add: Iterable[str] = (), remove: Iterable[str] = (), reason: str = "requested"
) -> int:
    """Add identities to the list or remove some, in the current transaction; return how many were not so before.

    Waits for chunks that are being written.
    """
    warehouse.lock_in_transaction(advisory_locks.SUPPRESSION)
    key = read_key(warehouse)
    added, removed = sorted(set(add)), [key.digest(name) for name in set(remove)]
    sieves: Sequence[int] = key.sieve(pa.array(added, pa.string())).tolist() if added else []
    ((before,),) = warehouse.fetch("select count(*) from suppressed")
    warehouse.fetch(_ADD, reason, [key.digest(name) for name in added], sieves)
    warehouse.fetch(_REMOVE, removed)
    ((after,),) = warehouse.fetch("select count(*) from suppressed")
    if before != after:
        warehouse.fetch(_CHANGED)
    return abs(int(after) - int(before))


def files_with_suppressed(warehouse: Warehouse, uris: Sequence[str]) -> list[str]:
    """Return which files had events of suppressed people when they were loaded, in a transaction of its own."""
    query = "select distinct uri from files where uri = any(%s) and events_suppressed > 0"
    with warehouse.transaction():
        return [uri for (uri,) in warehouse.fetch(query, list(uris))]


def read_key(warehouse: Warehouse) -> SuppressionKey:
    """Return the key of a source's hashes, in the current transaction."""
    ((key,),) = warehouse.fetch("select key from suppression_key")
    return SuppressionKey(bytes(key))


def list_suppressed(warehouse: Warehouse, limit: int) -> list[dict[str, Any]]:
    """Return the newest entries of the list: their hashes, why and when they were added."""
    query = "select encode(digest, 'hex'), reason, added_at from suppressed order by added_at desc, digest limit %s"
    with warehouse.transaction():
        return [dict(zip(("subject", "reason", "added_at"), row, strict=True)) for row in warehouse.fetch(query, limit)]
