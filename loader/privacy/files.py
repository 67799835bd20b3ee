"""Remove people from files: segments of the spool, while a server writes there, and logs in the loader's home."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from loader.crash_points import crash_point
from loader.privacy.scrubbing import Scrubber
from loader.spool.rewrite import PART, rewrite_segment
from loader.spool.segment_list import SegmentList, find_segment
from loader.spool.segment_lock import hold_segments
from loader.spool.segments import folder_name, site_log

#: Numbers of lines by person and place.
Counts = Counter[tuple[int, str]]

#: Folders in the loader's home that are not searched: the database, the spool, and copies of programs.
_NOT_SEARCHED = frozenset({"data", "spool", "programs"})


def scrub_spool(spool: Path, schema: str, scrubber: Scrubber, *, is_dry: bool) -> Counts:
    """Remove people from the segments of a source, open, waiting and loaded; return the number of lines.

    A line keeps its length, so that positions in a segment stay valid. A compressed segment is replaced as a whole.
    """
    counts = Counts()
    for log in (schema, site_log(schema)):
        place = spool / folder_name(log)
        for part in place.glob(f"**/*{PART}"):
            part.unlink(missing_ok=True)
        for name in SegmentList(place).read():
            with hold_segments(spool):
                # While this is held no segment moves, so the path stays that of the segment.
                path = find_segment(place, name)
                if path is not None:
                    counts += _scrub_segment(path, scrubber, is_dry=is_dry)
            crash_point("erase.segment")
    return counts


def _scrub_segment(path: Path, scrubber: Scrubber, *, is_dry: bool) -> Counts:
    counts = Counts()

    def change(line: bytes) -> bytes | None:
        owner, kept = scrubber.scrub(line)
        if owner is not None:
            counts[owner, "spool"] += 1
        return kept

    rewrite_segment(path, change, is_dry=is_dry)
    return counts


def scrub_home(home: Path, scrubber: Scrubber, *, is_dry: bool) -> int:
    """Replace the addresses of people in logs and notes in the loader's home; return the number of files."""
    files = 0
    for path in _home_files(home):
        content = path.read_bytes()
        masked = scrubber.mask(content)
        if masked != content:
            files += 1
            if not is_dry:
                with path.open("r+b") as file:  # in place: the server appends to its log
                    file.write(masked)
    return files


def _home_files(home: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(home):
        if Path(folder) == home:
            folders[:] = [name for name in folders if name not in _NOT_SEARCHED]
        for name in names:
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink() and path.suffix in (".log", ".json", ".txt", ""):
                yield path
