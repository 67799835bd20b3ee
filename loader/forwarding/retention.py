"""Decide which segments integrations still need."""

from pathlib import Path

from loader.forwarding.configuration import Configuration, list_integrations
from loader.forwarding.cursor import Cursor
from loader.forwarding.forwarder import start_position
from loader.postgres.connection import Warehouse
from loader.spool.segment_list import SegmentList


def first_needed(warehouse: Warehouse, place: Path, *, reads_site: bool = False) -> str | None:
    """Return the first segment of a log that an enabled integration has not passed; None if all have passed all.

    `place` is the folder of the log, `reads_site` whether it is that of the company's site and apps.

    Segments beyond the limit of an integration's backlog are not needed: the newest ones are kept for it.
    Raises OSError if the spool cannot be read.
    """
    enabled = [found for found in list_integrations(warehouse) if found.is_enabled and found.reads_site == reads_site]
    firsts = [_first_needed(warehouse, place, configuration) for configuration in enabled]
    return min((first for first in firsts if first), default=None)


def _first_needed(warehouse: Warehouse, place: Path, configuration: Configuration) -> str | None:
    progress = Cursor(place, configuration.integration_id, configuration.name).read(warehouse)
    position = progress.position if progress else start_position(place, configuration.created_at)
    first, size = None, 0
    for name, path in reversed(SegmentList(place).read().items()):
        if name < position.segment or (name == position.segment and position.is_complete):
            break
        size += path.stat().st_size if path.exists() else 0
        if size > configuration.backlog_limit:
            break
        first = name
    return first
