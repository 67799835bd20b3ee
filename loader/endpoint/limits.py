"""Plan: what was asked of a server."""

import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

#: Segment's limits, in bytes after decompression, and in events.
MAX_EVENT = 32 << 10
MAX_BATCH = 500 << 10
MAX_EVENTS = 2500
#: Bytes that a batch may become where what it says for all its events is given to each.
MAX_LINES = 16 << 20

#: Bytes that all requests together may be reading.
MAX_READING = 128 << 20

#: Bytes of a request's line and headers, beside the packet that they begin in, and the number of headers.
MAX_HEAD, MAX_HEADERS = 64 << 10, 200
#: Bytes of all of a request, which may come in many chunks.
MAX_REQUEST = 8 * MAX_BATCH
#: Connections at a time.
MAX_CONNECTIONS = 1024
#: Seconds in which a request must have come, from its first byte on, or from the connection's beginning, and an answer
#: must have been taken.
TIMEOUT = 20.0

#: Connections that wait to be accepted.
BACKLOG = 1024
#: Seconds after which a connection is closed that sends nothing more; balancers keep theirs for a minute.
KEEP_ALIVE = 75
#: Seconds after which a stop waits no longer for senders; those that are late are let go before.
STOP = 30

#: Seconds after which a sender may try again when there is no room.
RETRY_AFTER = 30

#: Seconds between looks at the keys: a revoked one is refused within twice that.
KEYS = 4.0
#: Seconds between words on strangers.
STRANGERS = 60.0
#: What a load does with a lost connection; the next load is due soon.
RETRY_FOR = "30s"
#: As many rejects as it takes: they are looked at in the warehouse, and nobody reads this exit code.
MAX_REJECTS = str(1 << 30)


#: Addresses that are told apart.
MOST = 1000

#: Characters below which a key could be guessed.
SHORTEST = 16


@dataclass(frozen=True, slots=True)
class Plan:
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
class Bucket:
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
