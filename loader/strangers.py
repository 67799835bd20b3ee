"""Strangers: where requests without a valid key come from, told now and then, not each time."""

import logging
import threading
from collections import Counter

log = logging.getLogger(__name__)

#: Addresses that are told apart.
MOST = 1000


class Strangers:
    """Counts refused requests by address."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, address: str) -> None:
        """Count a request; addresses beyond so many are one."""
        with self._lock:
            known = address in self._counts or len(self._counts) < MOST
            self._counts[address if known else "others"] += 1

    def tell(self) -> None:
        """Log what was counted since the last time."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        for address, count in counts.most_common(10):
            log.warning("%d requests without a valid key came from %r", count, address)
