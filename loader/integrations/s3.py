"""Write events to an object store or a folder, in the layout of Segment's archive, from where `load` can read them.

    <url>/<day of receipt, as Unix time in milliseconds>/<place of the first event in the log>.gz

Layout: Segment, "AWS S3 with IAM Role Support". A file is gzip, with one event a line.
"""

import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loader.errors import InputError, UsageError
from loader.events.moments import read_moment
from loader.inputs.object_store import open_folder, remove_file, write_file
from loader.integrations.event import Event, encode
from loader.integrations.http import MASK
from loader.integrations.outcomes import DELIVERED, Outcome, TryLater
from loader.integrations.protocol import ALL_CALLS, Batch, BatchLimits, Options, Secret, Setting
from loader.spool.segments import replace_file

#: The folder of events that have no readable time.
UNDATED = "undated"
#: Written and removed by `test`. `load` leaves out names that begin with a point.
PROBE = ".selligent-loader-test"
#: Characters that `preview` shows.
MAX_PREVIEW = 10_000


class Archive:
    """All calls, as they were received.

    A file is named after the place of its first event in the log. So after a crash the same file is written again; if
    it is a shorter one then, the following file has the rest. An event can be in two files, but never in none.
    """

    name, label = "s3", "Amazon S3"
    settings = (
        Setting("url", "Where to write: s3://bucket/folder, another URL of fsspec, or the path of a folder."),
        Setting("events", "Maximum number of events in a file.", "50000"),
        Setting("every", "Seconds for which events are collected for a file.", "300"),
    )
    secret = Secret(
        'Options of the system as JSON, for S3 {"key": "…", "secret": "…"}; without it, its own settings count.',
        is_optional=True,
    )
    calls = ALL_CALLS

    def __init__(self, options: Options) -> None:
        url, given = options.settings["url"].rstrip("/"), _read_options(options.secret)
        self._url, self._secrets = url, sorted(_texts(given), key=len, reverse=True)
        path = url.removeprefix("file://")
        if "://" not in path and not Path(path).is_absolute():
            raise UsageError(f"the setting url is {url!r}; write a URL, or the whole path of a folder")
        is_local = "://" not in path
        if is_local and given:
            raise UsageError("a folder has no options; leave out the secret")
        self._system: Any = None
        self._root = path
        if not is_local:
            self._system, self._root = open_folder(url, given)
        every = options.number("every", 86_400)
        self.limits = BatchLimits(options.number("events", 1_000_000), 16 << 20, 16 << 20, every)

    def encode(self, event: Event) -> bytes:
        """Return the event as it was received."""
        if "messageId" in event.fields:
            return event.line
        return encode({**event.fields, "messageId": event.message_id})

    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Write a file for each day of receipt."""
        for name, content in self._files(batch).items():
            self._write(name, gzip.compress(content, 6, mtime=0))
        return [DELIVERED] * len(batch.records)

    def preview(self, batch: Batch) -> str:
        """Return the names of the files, with their content."""
        files = self._files(batch).items()
        text = "\n".join(f"{self._url}/{name}\n\n{content.decode('utf-8', 'replace')}" for name, content in files)
        return text[:MAX_PREVIEW]

    def test(self, batch: Batch) -> Sequence[Outcome]:
        """Write a file that is no archive, and remove it."""
        self._write(PROBE, b"")
        if self._system is None:
            (Path(self._root) / PROBE).unlink(missing_ok=True)
        else:
            remove_file(self._system, f"{self._root}/{PROBE}")
        return [Outcome("delivered", answer=f"{self._url} can be written") for _ in batch.records]

    def _files(self, batch: Batch) -> dict[str, bytes]:
        """Return the content of the files of a batch by their names below the URL."""
        days: dict[str, list[bytes]] = {}
        for record in batch.records:
            days.setdefault(day_folder(record.event), []).append(record.body)
        return {f"{day}/{batch.key}.gz": b"\n".join([*lines, b""]) for day, lines in days.items()}

    def _write(self, name: str, content: bytes) -> None:
        try:
            if self._system is not None:
                write_file(self._system, f"{self._root}/{name}", content)
                return
            place = Path(self._root) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_file(place, content)
        except (InputError, OSError) as exc:
            text = str(exc)
            for secret in self._secrets:
                text = text.replace(secret, MASK)
            raise TryLater("storage", text) from None


def day_folder(event: Event) -> str:
    """Return the folder of an event: the UTC day on which it was received, as Unix time in milliseconds."""
    moment = read_moment(event.text("receivedAt") or "") or event.moment
    if moment is None:
        return UNDATED
    day = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return str(int(day.timestamp()) * 1000)


def _read_options(secret: str) -> dict[str, Any]:
    """Return the options of a system; raise UsageError, without them, if they are not valid."""
    try:
        found = json.loads(secret or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError('the secret is not a JSON object; write one such as {"key": "…", "secret": "…"}')
    return found


def _texts(value: Any) -> set[str]:
    """Return the texts in options that are long enough to be masked."""
    if isinstance(value, str):
        return {value} if len(value) >= 4 else set()
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*map(_texts, inside))
