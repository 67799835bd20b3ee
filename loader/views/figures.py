"""How current the figures behind the views are, and which step a running refresh is at."""

from typing import Any

from loader.postgres import advisory_locks
from loader.postgres.connection import Warehouse, operation

_NAMES = ("refreshed_at", "seconds", "events_behind", "step", "running_since", "failed_at", "error")


def read_figures(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return one row in the transaction at hand: the last refresh, the events that it lacks, the running refresh.

    `seconds` is the duration of the last refresh. `step` and `running_since` are null unless a refresh is running,
    `failed_at` and `error` unless a refresh has failed since.
    """
    rows = warehouse.fetch(operation("figures"), refresh_lock=advisory_locks.REFRESH, ops=warehouse.ops)
    return [dict(zip(_NAMES, row, strict=True)) for row in rows]
