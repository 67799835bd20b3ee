"""Plan: what was asked of a server."""

import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

#: Segment's limits, in bytes after decompression, and in events.
MAX_EVENT_BYTES = 32 << 10
MAX_BATCH_BYTES = 500 << 10
MAX_EVENTS = 2500
#: Bytes that a batch may become where what it says for all its events is given to each.
MAX_EXPANDED_BYTES = 16 << 20

#: Bytes that all requests together may be reading.
MAX_READING_BYTES = 128 << 20

#: Bytes of a request's line and headers, beside the packet that they begin in, and the number of headers.
MAX_HEAD_BYTES, MAX_HEADERS = 64 << 10, 200
#: Bytes of all of a request, which may come in many chunks.
MAX_REQUEST_BYTES = 8 * MAX_BATCH_BYTES
#: Connections at a time.
MAX_CONNECTIONS = 1024
#: Seconds in which a request must have come, from its first byte on, or from the connection's beginning, and an answer
#: must have been taken.
REQUEST_SECONDS = 20.0

#: Connections that wait to be accepted.
BACKLOG = 1024
#: Seconds after which a connection is closed that sends nothing more; balancers keep theirs for a minute.
KEEP_ALIVE_SECONDS = 75
#: Seconds after which a stop waits no longer for senders; those that are late are let go before.
SHUTDOWN_SECONDS = 30

#: Seconds after which a sender may try again when there is no room.
RETRY_AFTER_SECONDS = 30

#: Seconds between looks at the keys: a revoked one is refused within twice that.
KEY_REFRESH_SECONDS = 4.0
#: Seconds between log lines on requests without a valid key.
UNAUTHORIZED_LOG_SECONDS = 60.0
#: What a load does with a lost connection; the next load is due soon.
LOAD_RETRY_FOR = "30s"
#: As many rejects as it takes: they are looked at in the warehouse, and nobody reads this exit code.
LOAD_MAX_REJECTS = str(1 << 30)


#: Addresses that are told apart.
MAX_ADDRESSES = 1000

#: Characters below which a key could be guessed.
MIN_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to serve."""

    host: str
    port: int
    spool: Path
    #: Bytes that may wait to be loaded.
    spool_limit: int
    #: How long to wait between loads, and whether there are any.
    load_every: timedelta
    is_loading: bool
    #: How long loaded segments are kept.
    keep: timedelta
    #: Events a second for each key; 0 is no limit.
    rate: float
    #: Certificate and private key.
    tls: tuple[Path, Path] | None
    #: Addresses or networks of proxies whose word on the client's address is taken.
    proxies: tuple[str, ...]


@dataclass(slots=True)
class TokenBucket:
    """What may be sent at `rate` a second; what was left over for up to `seconds` may be sent at once."""

    rate: float
    seconds: float = 10.0
    level: float = field(init=False)
    filled: float = field(init=False)

    def __post_init__(self) -> None:
        self.level, self.filled = self.rate * self.seconds, time.monotonic()

    def take(self, count: int, now: float) -> int:
        """Take from the bucket and return 0, or, if it is empty, the seconds to wait.

        Who finds anything in it takes all it wants, so that a large batch is not refused for ever.

        >>> bucket = Bucket(10, 1)
        >>> bucket.take(25, bucket.filled), bucket.take(1, bucket.filled), bucket.take(1, bucket.filled + 1.6)
        (0, 2, 0)
        """
        self.level = min(self.level + (now - self.filled) * self.rate, self.rate * self.seconds)
        self.filled = now
        if self.level <= 0:
            return max(math.ceil(-self.level / self.rate), 1)
        self.level -= count
        return 0
