"""Cache the valid write keys in memory and on disk, and count requests without a valid key."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from loader.config import Settings
from loader.endpoint.limits import KEY_REFRESH_SECONDS, MAX_ADDRESSES, UNAUTHORIZED_LOG_SECONDS
from loader.endpoint.write_keys import Key, client_name, find_keys, record_use, valid_keys
from loader.errors import LoaderError, OutageError
from loader.postgres.connection import Warehouse
from loader.schema.source import open_warehouse
from loader.spool.segments import replace_file

log = logging.getLogger(__name__)


class KeyCache:
    """The valid keys of several sources. A copy of their hashes on disk is used while the database is away."""

    def __init__(self, sources: Sequence[Settings], copy: Path) -> None:
        """Read the keys from the database or, if it is away, from the copy.

        Raises SchemaError if the database is not prepared, OutageError if it is away and there is no copy.
        """
        self._sources, self._copy = sources, copy
        self._warehouses: dict[str, Warehouse] = {}
        self._open = ExitStack()
        self._used: dict[Key, tuple[datetime, bytes]] = {}
        self._keys: list[Key] = []
        try:
            for settings in sources:
                with open_warehouse(settings, "serve"):
                    pass
            self.refresh()
        except OutageError as exc:
            if not copy.exists():
                raise
            log.warning("%s; using the write keys read last", exc)
            self._keys = self._read_copy()

    def close(self) -> None:
        """Record when keys were last used, if the database is available, and close the connections."""
        with suppress(LoaderError):
            self.refresh()
        self._open.close()

    def find(self, key: str, user_agent: bytes = b"") -> tuple[Key, ...]:
        """Return the valid keys that match the one sent, one for each source that has it, and remember their use."""
        found = find_keys(self._keys, key)
        for known in found:
            self._used[known] = datetime.now(UTC), user_agent
        return found

    def is_allowed(self, origin: str, schemas: Collection[str] | None = None) -> bool:
        """Return whether a valid key of one of the sources, by default of any, allows an origin."""
        return any(origin in key.origins and (schemas is None or key.schema in schemas) for key in self._keys)

    @property
    def count(self) -> int:
        return len(self._keys)

    def refresh(self) -> None:
        """Read the valid keys from the database, and record when keys were last used.

        Raises WarehouseError if it is away; the cached keys then stay valid.
        """
        found = [key for settings in self._sources for key in self._fetch_keys(settings)]
        if found != self._keys:
            self._keys = found
            self._write_copy()

    def _fetch_keys(self, settings: Settings) -> list[Key]:
        if settings.schema not in self._warehouses:
            warehouse = Warehouse(settings, "serve keys")
            self._warehouses[settings.schema] = self._open.enter_context(closing(warehouse))
        warehouse = self._warehouses[settings.schema]
        used = {key: use for key, use in list(self._used.items()) if key.schema == settings.schema}
        if used:
            rows = {key.key_id: (moment, client_name(user_agent)) for key, (moment, user_agent) in used.items()}
            warehouse.retry(lambda: record_use(warehouse, rows))
            for key, use in used.items():
                if self._used.get(key) == use:
                    del self._used[key]
        return warehouse.retry(lambda: valid_keys(warehouse))

    def _write_copy(self) -> None:
        rows = [
            {
                "schema": key.schema,
                "key_id": key.key_id,
                "hash": key.digest.hex(),
                "origins": key.origins,
                "is_site": key.is_site,
            }
            for key in self._keys
        ]
        try:
            replace_file(self._copy, json.dumps(rows).encode())
        except OSError as exc:
            log.warning("write keys cannot be saved in %s: %s", self._copy, exc.strerror)

    def _read_copy(self) -> list[Key]:
        schemas = {settings.schema for settings in self._sources}
        rows = json.loads(self._copy.read_bytes())
        return [
            Key(
                row["schema"],
                row["key_id"],
                bytes.fromhex(row["hash"]),
                tuple(row.get("origins", ())),
                row.get("is_site", False),
            )
            for row in rows
            if row["schema"] in schemas
        ]


class UnauthorizedRequests:
    """Counts requests without a valid key by client address."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def count(self, address: str) -> None:
        """Count a request; above MAX_ADDRESSES, all further addresses are counted as one."""
        with self._lock:
            known = address in self._counts or len(self._counts) < MAX_ADDRESSES
            self._counts[address if known else "others"] += 1

    def report(self) -> None:
        """Log the counts since the last report, at most ten addresses."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        for address, count in counts.most_common(10):
            log.warning("%d requests without a valid write key from %r", count, address)


class KeyRefresher:
    """Refreshes the key cache and logs unauthorized requests, at intervals, in a thread."""

    def __init__(self, key_cache: KeyCache, unauthorized: UnauthorizedRequests) -> None:
        self._key_cache, self._unauthorized = key_cache, unauthorized
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, log the last counts, and close the key cache."""
        self._ending.set()
        self._thread.join()
        self._unauthorized.report()
        self._key_cache.close()

    def _run(self) -> None:
        is_away, reported = False, time.monotonic()
        while not self._ending.wait(KEY_REFRESH_SECONDS):
            if time.monotonic() > reported + UNAUTHORIZED_LOG_SECONDS:
                self._unauthorized.report()
                reported = time.monotonic()
            try:
                self._key_cache.refresh()
                is_away = False
            except LoaderError as exc:
                if not is_away:
                    log.warning("%s; using the write keys read last", exc)
                is_away = True
