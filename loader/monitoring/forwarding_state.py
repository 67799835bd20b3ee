"""Read the state of the integrations of a source from the database."""

from typing import Any

from loader.postgres.connection import Warehouse

_NAMES = (
    *("name", "kind", "status", "status_reason", "backlog_limit", "host", "events_delivered", "events_undelivered"),
    *("events_skipped", "failures", "events_per_second", "lag_events", "lag_seconds", "waiting_bytes"),
    *("failing_since", "error", "delivered_at", "updated_at", "age_seconds", "undelivered_now"),
)
_STATES = """
    select name, kind, status, status_reason, backlog_limit, host, events_delivered, events_undelivered,
        events_skipped, failures, events_per_second, lag_events,
        lag_seconds + case when lag_seconds > 0 then extract(epoch from now() - updated_at)::float8 else 0 end,
        waiting_bytes, failing_since, error, delivered_at, updated_at,
        extract(epoch from now() - updated_at)::float8,
        (select count(*) from undelivered_events as letter where letter.integration_id = found.integration_id)
    from integrations as found left join forwarding using (integration_id)
    order by name, host
"""


def read_states(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return one row for each integration and spool, with its lag, counts and failures.

    The columns of the spool are None if no forwarder has run. `undelivered_now` is the number of dead letters.
    """
    with warehouse.transaction():
        return read_states_now(warehouse)


def read_states_now(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the same, in the current transaction."""
    return [dict(zip(_NAMES, row, strict=True)) for row in warehouse.fetch(_STATES)]
