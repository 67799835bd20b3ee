"""Read the spool of a server that no longer runs: close its open segments, and recognize its private files."""

import logging
from contextlib import suppress
from pathlib import Path

from loader.errors import BusyError
from loader.spool.segments import SEGMENT_NAME, close_segment, lock_folder, unfinished_segments

log = logging.getLogger(__name__)


def close_left_open(path: Path) -> None:
    """Close the segments that a server has left open in a spool, or in the folder of one of its sources.

    Like the next start of the server, so that each event is in one file, under one name. Segments of a server that
    runs, which holds the lock, are left, and so are those in a folder that cannot be written; a warning says so. Other
    folders are left unchanged.
    """
    spool, places = _find_spool(path)
    is_open = [place for place in places if next((place / ".open").glob("*.jsonl"), None)]
    if not is_open:
        return
    try:
        with lock_folder(spool):
            for place in is_open:
                for segment, size in unfinished_segments(place):
                    close_segment(segment, size)
                    log.info("closed %s, which a server left open", segment)
    except BusyError:
        log.warning(
            "%s: events that are still being written are left, because a server holds the lock; it loads them, or stop "
            "it and load again",
            spool,
        )
    except OSError as exc:
        log.warning("%s: open segments are left, because they cannot be closed: %s", spool, exc.strerror)


def _find_spool(path: Path) -> tuple[Path, list[Path]]:
    """Return the spool of a path and the folders of the sources in it; no folders if the path is not in a spool."""
    with suppress(OSError):  # reading a folder without the right to list it fails later, with a message
        if (path / ".open").is_dir() and (path.parent / ".lock").is_file():
            return path.parent, [path]
        if (path / ".lock").is_file():
            return path, [place for place in sorted(path.iterdir()) if (place / ".open").is_dir()]
    return path, []


def is_private(path: Path) -> bool:
    """Return whether a file belongs to a spool and is not a closed segment with e-mail events.

    So it is with the copy of the write keys, and with the calls of the company's site.
    """
    folder = path.parent
    if is_in_site_log(path):
        return True
    if (folder / ".open").is_dir() and (folder.parent / ".lock").is_file():
        return not SEGMENT_NAME.fullmatch(path.name)
    return bool(_find_spool(folder)[1])


def is_in_site_log(path: Path) -> bool:
    """Return whether a file is a segment of a site's log, loaded or not."""
    return any(
        place.name.startswith(".") and place.name.endswith(".site") and (place / ".open").is_dir()
        for place in path.parents[:2]
    )
