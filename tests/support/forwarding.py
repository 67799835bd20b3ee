"""Spools with events, integrations that send to a target of this machine, and forwarders for tests."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loader.config import Settings
from loader.forwarding.clock import Clock
from loader.forwarding.configuration import NewIntegration, add_integration, find_integration
from loader.forwarding.forwarder import Forwarder
from loader.monitoring.forwarding_state import read_states
from loader.schema.source import open_warehouse
from loader.spool.segments import folder_name, site_log
from loader.spool.writer import Spool
from tests.support.loading import event, select

KEY = "write-key-of-the-target"


class SimulatedClock(Clock):
    """A clock on which waiting takes no time; `act` is called at each time until which was waited."""

    def __init__(self, act: Callable[[float], None] = lambda _: None) -> None:
        super().__init__()
        self._act = act
        self.waited = 0.0

    def time(self) -> float:
        return super().time() + self.waited

    def wait(self, seconds: float) -> None:
        self.waited += seconds
        self._act(self.waited)


def received(number: int, person: int | None = None, **fields: Any) -> dict[str, Any]:
    """Return an event as the endpoint stores it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    who = f"u{number % 10 if person is None else person}"
    return event(
        **{"messageId": f"m{number}", "userId": who, "receivedAt": now, "sentAt": now, "timestamp": None, **fields}
    )


def lines(events: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in events)


@contextmanager
def spooling(folder: Path, schema: str = "selligent") -> Iterator[Spool]:
    """Open a spool that events can be appended to."""
    with closing(Spool(folder, [schema], 1 << 40, lambda *_: None)) as spool:
        yield spool


def write(spool: Spool, events: Sequence[Any], schema: str = "selligent") -> None:
    """Append events and close the segment."""
    spool.append(schema, lines(events), None)
    spool.rotate()


def add(settings: Settings, url: str, name: str = "segment", given: Mapping[str, str] = {}, **options: Any) -> None:
    """Add an integration that was there before all events; of the kind `segment`, unless `kind` says otherwise."""
    known = {"kind": "segment", "secret": KEY, "allow_http": True, "allow_private": True, **options}
    with open_warehouse(settings) as warehouse:
        add_integration(warehouse, NewIntegration(name, settings={"url": url, **given}, **known))
    select(settings, "update integrations set created_at = created_at - interval '1 minute' returning 1")


def forward_events(
    settings: Settings,
    spool: Path,
    name: str = "segment",
    *,
    clock: Clock | None = None,
    notify: Any = lambda _: True,
    once: bool = True,
) -> bool:
    """Forward the events of a spool to an integration; return whether all were forwarded."""
    with open_warehouse(settings) as warehouse:
        configuration = find_integration(warehouse, name)
    log_name = site_log(settings.schema) if configuration.reads_site else settings.schema
    forwarder = Forwarder(settings, spool / folder_name(log_name), configuration, clock or Clock(), notify, once=once)
    forwarder.run()
    return forwarder.is_done


def state(settings: Settings, name: str = "segment") -> dict[str, Any]:
    """Return the state of an integration."""
    with open_warehouse(settings) as warehouse:
        (found,) = (row for row in read_states(warehouse) if row["name"] == name)
    return found
