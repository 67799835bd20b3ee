"""Patience: work that lost its connection is done again, until the database has been away for too long."""

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from loader.errors import DisconnectedError

Result = TypeVar("Result")

#: Seconds before the second attempt; each further pause is twice as long, up to LONGEST, give or take a half.
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0

log = logging.getLogger(__name__)


def retry(work: Callable[[], Result], span: timedelta) -> Result:
    """Do work, again and again while its connection is lost, for so long.

    Raises DisconnectedError if the database is still away then.
    """
    deadline, pause = None, FIRST_PAUSE_SECONDS
    while True:
        try:
            return work()
        except DisconnectedError as exc:
            now = time.monotonic()
            deadline = deadline or now + span.total_seconds()
            if now >= deadline:
                raise
            # Loaders that lost the same server must not all come back at once.
            wait = min(pause * random.uniform(0.5, 1.5), deadline - now)  # noqa: S311
            log.warning("%s; tried again in %.1f s, for %.0f s at most", exc, wait, deadline - now)
            time.sleep(wait)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
