"""Limits of the endpoint, the options of `serve`, and the rate limit for each key."""

import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

# Calls of the tracking API

#: Segment's limits: bytes of an event and of a batch, after decompression, and events of a batch.
MAX_EVENT_BYTES = 32 << 10
MAX_BATCH_BYTES = 500 << 10
MAX_EVENTS = 2500
#: Bytes of a batch after its shared fields have been copied into each event.
MAX_EXPANDED_BYTES = 16 << 20
#: Seconds after which a client may try again when the spool is full (`Retry-After`).
RETRY_AFTER_SECONDS = 30

# HTTP

#: Bytes of the request line and headers, not counting the packet in which they begin.
MAX_HEAD_BYTES = 64 << 10
#: Headers of a request.
MAX_HEADERS = 200
#: Bytes of a whole request, as sent, which for chunked bodies includes the chunk headers.
MAX_REQUEST_BYTES = 8 * MAX_BATCH_BYTES
#: Connections at a time, if the system allows as many open files.
MAX_CONNECTIONS = 1024
#: Open files that connections leave to the spool, the database and loads, and those of each source.
RESERVED_FILES = 96
RESERVED_FILES_PER_SOURCE = 8
#: Idle connections that are closed together when a new one would be one too many.
SHED_CONNECTIONS = 16
#: Connections that wait to be accepted.
BACKLOG = 1024
#: Seconds to receive a request, from its first byte or from the start of the connection, and to send a response.
REQUEST_SECONDS = 20.0
#: Seconds after which an idle connection is closed. Load balancers keep theirs open for 60 seconds.
KEEP_ALIVE_SECONDS = 75
#: Seconds to wait for open requests at shutdown; longer than REQUEST_SECONDS, so that they end by that limit.
SHUTDOWN_SECONDS = 30

# Memory

#: Bytes of all incomplete request bodies together.
MAX_READING_BYTES = 128 << 20
#: Bytes of all incomplete bodies of requests without a valid key in the headers.
MAX_UNKNOWN_READING_BYTES = 32 << 20
#: Complete bodies of such requests that wait to be searched for a key.
MAX_UNKNOWN_WAITING = 64
#: Client addresses that are counted separately.
MAX_ADDRESSES = 1000

# Requests without a valid key in the headers

#: Seconds to receive the body of such a request.
UNKNOWN_BODY_SECONDS = 5.0
#: After a search that finds no valid key, no other begins for so many times its duration.
UNKNOWN_PAUSE_FACTOR = 9

# Write keys

#: Characters of a write key; shorter ones could be guessed.
MIN_KEY_LENGTH = 16
#: Origins of a write key, and characters of each.
MAX_ORIGINS = 100
MAX_ORIGIN_LENGTH = 255
#: Seconds for which a browser may remember that an origin is allowed.
PREFLIGHT_SECONDS = 600
#: Characters of the client's name that are stored with the key it uses.
MAX_CLIENT_LENGTH = 50
#: Seconds between refreshes of the key cache; a revoked key is refused within twice that time.
KEY_REFRESH_SECONDS = 4.0
#: Seconds between log lines about requests without a valid key.
UNAUTHORIZED_LOG_SECONDS = 60.0

# Loads

#: `--retry-for` of a load: short, because the next one follows soon.
LOAD_RETRY_FOR = "30s"
#: `--max-rejects` of a load, in events: no limit, because nobody sees the exit code; `check` reports rejects.
LOAD_MAX_REJECTS = str(1 << 30)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Options of the server."""

    host: str
    port: int
    spool: Path
    #: Bytes of events that may wait to be loaded.
    spool_limit: int
    #: How long to wait between loads, and whether to run loads at all.
    load_every: timedelta
    is_loading: bool
    #: How long to wait between refreshes of the figures; 0 refreshes with each load.
    refresh_every: timedelta
    #: How long to keep segments after they have been loaded.
    keep: timedelta
    #: Whether to run a forwarder for each source.
    is_forwarding: bool
    #: Events per second for each key; 0 is no limit.
    rate: float
    #: Files of the certificate and the private key, in PEM format.
    tls: tuple[Path, Path] | None
    #: Addresses or networks of proxies whose `X-Forwarded-For` header is trusted.
    proxies: tuple[str, ...]


@dataclass(slots=True)
class TokenBucket:
    """Rate limit of `rate` events per second that allows bursts of `seconds` times the rate."""

    rate: float
    seconds: float = 10.0
    level: float = field(init=False)
    filled: float = field(init=False)

    def __post_init__(self) -> None:
        self.level, self.filled = self.rate * self.seconds, time.monotonic()

    def take(self, count: int, now: float) -> int:
        """Take `count` events and return 0 or, if the bucket is empty, return the seconds to wait.

        The level may become negative; otherwise a batch larger than the bucket would be refused permanently.

        >>> bucket = TokenBucket(10, 1)
        >>> bucket.take(25, bucket.filled), bucket.take(1, bucket.filled), bucket.take(1, bucket.filled + 1.6)
        (0, 2, 0)
        """
        self.level = min(self.level + (now - self.filled) * self.rate, self.rate * self.seconds)
        self.filled = now
        if self.level <= 0:
            return max(math.ceil(-self.level / self.rate), 1)
        self.level -= count
        return 0
