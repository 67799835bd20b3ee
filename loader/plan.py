"""Plan: what was asked of a server."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


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
