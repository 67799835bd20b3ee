"""Raise the limit of open files at the start, and derive the number of connections from it."""

import logging
import resource

from loader.endpoint.limits import BACKLOG, MAX_CONNECTIONS, RESERVED_FILES, RESERVED_FILES_PER_SOURCE

log = logging.getLogger(__name__)


def raise_file_limit(sources: int) -> tuple[int, int]:
    """Raise the soft limit of open files to what is needed, if the hard limit allows it.

    Returns the number of connections to serve at a time, and the limit. Logs a warning if it is too low for
    MAX_CONNECTIONS.
    """
    reserved = RESERVED_FILES + RESERVED_FILES_PER_SOURCE * sources
    needed = MAX_CONNECTIONS + BACKLOG + reserved  # connections above the limit are open for a moment
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = choose_limit(soft, hard, needed)
    if limit != soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    connections = min(MAX_CONNECTIONS, max(limit - reserved, 1)) if limit != resource.RLIM_INFINITY else MAX_CONNECTIONS
    if connections < MAX_CONNECTIONS:
        log.warning(
            "the system allows %d open files: at most %d connections at a time instead of %d; raise the hard limit to "
            "%d (LimitNOFILE of systemd, `ulimit -Hn`)",
            *(limit, connections, MAX_CONNECTIONS, needed),
        )
    return connections, limit


def choose_limit(soft: int, hard: int, needed: int) -> int:
    """Return the soft limit to set: never lower than it is, and never above the hard limit.

    >>> [choose_limit(1024, hard, 2152) for hard in (4096, 1100, resource.RLIM_INFINITY)]
    [2152, 1100, 2152]
    >>> choose_limit(65536, 65536, 2152), choose_limit(resource.RLIM_INFINITY, resource.RLIM_INFINITY, 2152)
    (65536, -1)
    """
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return soft
    return needed if hard == resource.RLIM_INFINITY else max(soft, min(hard, needed))
