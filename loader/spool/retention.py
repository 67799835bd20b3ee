"""Remove the segments that are loaded, unless integrations still need them."""

import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from loader.spool.segments import closed_segments

log = logging.getLogger(__name__)

#: The first segment of each source, by its folder, that integrations need; it and later ones are kept.
Needed = Mapping[Path, str]


def is_needed(path: Path, needed: Needed) -> bool:
    """Return whether integrations need a loaded segment."""
    first = needed.get(path.parent.parent)
    return first is not None and path.name.partition(".")[0] >= first


def remove_older(place: Path, seconds: float, needed: Needed) -> None:
    """Remove the loaded segments of a source that were closed more than so many seconds ago and are not needed."""
    for path in closed_segments(place / ".loaded"):
        if path.stat().st_mtime < time.time() - seconds and not is_needed(path, needed):
            path.unlink()


def remove_oldest(places: Iterable[Path], needed: Needed) -> bool:
    """Remove the oldest of the loaded segments that are kept; return False if there is none.

    Those that integrations need are removed last: receiving comes first.
    """
    kept = [path for place in places for path in closed_segments(place / ".loaded")]
    if not kept:
        return False
    path = min(kept, key=lambda path: (is_needed(path, needed), path.name))
    if is_needed(path, needed):
        log.error("the disk is full: %s is removed before its events were forwarded to all integrations", path)
    path.unlink(missing_ok=True)
    return True
