"""Check the integrations of a source: failures, events that wait, undelivered events, forwarders that do not run."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from loader.monitoring.forwarding_state import read_states_now
from loader.monitoring.results import ERROR, OK, WARN, Check, span
from loader.postgres.connection import Warehouse

#: Seconds after which a forwarder that has not reported does not run.
SILENT_SECONDS = 300
#: Age of the oldest event that waits, in seconds, above which it is a warning, and an error.
LATE_SECONDS, VERY_LATE_SECONDS = 15 * 60, 6 * 3600
#: Shares of the limit of the backlog above which it is a warning, and an error.
LARGE_SHARE, VERY_LARGE_SHARE = 0.5, 0.8
_UNDELIVERED = """
    select name, count(*) from undelivered_events join integrations using (integration_id)
    where failed_at >= now() - %s::interval group by name
"""


def check_forwarding(warehouse: Warehouse, period: timedelta) -> Iterator[Check]:
    """Yield one check for each integration and spool, and one for the undelivered events of a period."""
    for state in read_states_now(warehouse):
        yield check_integration(state)
    for name, count in warehouse.fetch(_UNDELIVERED, period):
        found = f"{count:,} undelivered within the last {span(period)}"
        todo = f"see `selligent-loader integrations failed {name}`; --retry delivers them again"
        yield Check(f"events for {name}", ERROR, found, todo)


def check_integration(state: Mapping[str, Any]) -> Check:
    """Check the state of an integration in one spool."""
    name = f"forwarding to {state['name']}"
    resume = f"`selligent-loader integrations resume {state['name']}`"
    if state["status"] == "disabled":
        return Check(name, ERROR, f"disabled: {state['status_reason']}", f"repair the target, then run {resume}")
    if state["status"] == "paused":
        return Check(name, WARN, "paused", f"{resume} continues")
    if state["updated_at"] is None:
        return Check(name, WARN, "no forwarder has run", "run `selligent-loader forward`, or `serve --forward`")
    return _check_enabled(name, state)


def _check_enabled(name: str, state: Mapping[str, Any]) -> Check:
    waiting = "an unknown number of" if state["lag_events"] is None else f"{state['lag_events']:,}"
    lag = timedelta(seconds=state["lag_seconds"] or 0)
    found = f"{waiting} events wait, the oldest for {span(lag)}" if lag else "no event waits"
    share = state["waiting_bytes"] / state["backlog_limit"]
    if share >= LARGE_SHARE:
        found += f"; they take {share:.0%} of --backlog-limit"
    if state["age_seconds"] > SILENT_SECONDS:
        found += f"; no forwarder has reported for {span(timedelta(seconds=state['age_seconds']))}"
        return Check(name, ERROR, found, f"run `selligent-loader forward` on {state['host']}, or `serve --forward`")
    level = OK
    if state["failing_since"] or lag.total_seconds() > LATE_SECONDS or share >= LARGE_SHARE:
        level = WARN
    if lag.total_seconds() > VERY_LATE_SECONDS or share >= VERY_LARGE_SHARE:
        level = ERROR
    todo = ""
    if level != OK:
        todo = f"requests fail: {state['error']}" if state["failing_since"] else "look at the target's speed"
    return Check(name, level, found, todo)
