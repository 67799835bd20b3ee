"""Repeat work after a lost connection, with exponential back-off, until a deadline."""

import logging
import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from loader.errors import DisconnectedError

Result = TypeVar("Result")

#: Pause before the second attempt. Each further pause is twice as long, up to the maximum, plus or minus 50 %.
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0

log = logging.getLogger(__name__)


def retry(work: Callable[[], Result], span: timedelta) -> Result:
    """Call `work`, again while it raises DisconnectedError, until `span` after the first one; return its result.

    Raises DisconnectedError if the connection is still lost then.
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
            # Jitter, so that loaders that lost the same server do not all reconnect at once.
            wait = min(pause * random.uniform(0.5, 1.5), deadline - now)  # noqa: S311
            log.warning("%s; retrying in %.1f s, for at most %.0f s", exc, wait, deadline - now)
            time.sleep(wait)
            pause = min(pause * 2, MAX_PAUSE_SECONDS)
