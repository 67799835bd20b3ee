"""Compute what is needed for a number of events a day, from measured costs: machines, disk, and what breaks first.

    python -m benchmarks.capacity [--inputs FILE.json] [--events-a-day 1000000 ...]

The inputs below were measured as `benchmarks/README.md` says. Measure your own machine with `python -m benchmarks`,
`python -m benchmarks.stream` and `python -m benchmarks.loaders`, write the fields that differ as JSON, and name the
file with `--inputs`; `--print-inputs` prints all of them.
"""

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Inputs:
    """Measured costs, and what is wanted of the machines."""

    #: Requests with one event, and events in batches of 100, that one endpoint accepts a second.
    endpoint_requests: float = 23_696
    endpoint_batched_events: float = 243_945
    #: Share of the events that come in batches.
    batched: float = 0.0
    #: Events that one loader stores a second, and the cores of the server that are busy meanwhile: copying the same
    #: rows alone runs at 209,060 events a second.
    loader_events: float = 112_502
    server_cores: float = 0.54
    #: Events that a refresh adds to the figures a second, in a night of the size below; one core of the server.
    refresh_events: float = 13_000
    #: Bytes an event: tables with indexes, figures, write-ahead log, kept segments of the spool.
    table_bytes: float = 727
    figure_bytes: float = 310
    wal_bytes: float = 767
    spool_bytes: float = 90
    #: Days for which events are stored, and segments are kept.
    days: int = 730
    spool_days: int = 30
    #: The busiest second has this many times the average. A part is not to be busier than `busy` then.
    peak: float = 10.0
    busy: float = 0.5
    #: Cores of a database server, and the share of a day in which its refreshes must fit.
    server_size: int = 16
    refresh_share: float = 0.25
    #: Disk of one server that is still handled well (backups, vacuum), in bytes.
    server_disk: float = 8e12
    #: Rate of distributed tables as a share of that of local ones, by the same loader.
    distributed_rate: float = 0.7


@dataclass(frozen=True, slots=True)
class Need:
    """What a number of events a day needs."""

    events_a_day: int
    peak_rate: float
    endpoints: int
    loaders: int
    server_cores: float
    refresh_hours: float
    disk: float
    wal_a_day: float
    workers: int
    #: The part with the least room, and how much of it is used: above 1 it does not suffice.
    breaks_first: str
    fullness: float


def compute(events: int, inputs: Inputs) -> Need:
    """Return what some events a day need.

    >>> small = compute(1_000_000, Inputs())
    >>> small.endpoints, small.loaders, small.workers
    (1, 1, 0)
    >>> compute(10**9, Inputs()).workers > compute(10**8, Inputs()).workers
    True
    """
    average = events / SECONDS_A_DAY
    peak = average * inputs.peak
    cost = (1 - inputs.batched) / inputs.endpoint_requests + inputs.batched / inputs.endpoint_batched_events
    endpoints = max(math.ceil(peak * cost / inputs.busy), 1)
    disk = events * inputs.days * (inputs.table_bytes + inputs.figure_bytes)
    # The spool takes the peaks, so loads have to follow the average of an hour: twice that of the day.
    loading = 2 * average / inputs.loader_events
    # The figures stay on the coordinator.
    tables, figures = events * inputs.days * inputs.table_bytes, events * inputs.days * inputs.figure_bytes
    workers = math.ceil(tables / inputs.server_disk) if disk > inputs.server_disk else 0
    rate = inputs.distributed_rate if workers else 1.0
    refresh = events / inputs.refresh_events
    used = {
        "endpoint": peak * cost / endpoints / inputs.busy,
        "disk for the figures" if workers else "disk of the server": (figures if workers else disk)
        / inputs.server_disk,
        "refresh": refresh / (inputs.refresh_share * SECONDS_A_DAY),
        "processors of the server": (loading * inputs.server_cores + refresh / SECONDS_A_DAY)
        / (inputs.server_size * inputs.busy),
        "one loader": loading / rate,
    }
    return Need(
        events,
        peak,
        endpoints,
        max(math.ceil(loading / rate / inputs.busy), 1),
        loading / rate * inputs.server_cores + refresh / SECONDS_A_DAY,
        refresh / 3600,
        disk,
        events * inputs.wal_bytes,
        workers,
        max(used, key=lambda part: used[part]),
        max(used.values()),
    )


def table(needs: list[Need]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    titles = (
        *("events a day", "peak", "endpoints", "loaders", "cores of the server", "refresh a day"),
        *("disk", "WAL a day", "workers", "what breaks first"),
    )
    yield f"| {' | '.join(titles)} |"
    yield "|" + "---|" * len(titles)
    for need in needs:
        cells = (
            f"{need.events_a_day:,}",
            f"{need.peak_rate:,.0f}/s",
            str(need.endpoints),
            str(need.loaders),
            f"{need.server_cores:.2f}",
            f"{need.refresh_hours:.1f} h",
            size(need.disk),
            size(need.wal_a_day),
            str(need.workers or "-"),
            f"{need.breaks_first}, {need.fullness:.0%} full",
        )
        yield f"| {' | '.join(cells)} |"


def size(number: float) -> str:
    """Return bytes with a decimal unit.

    >>> size(9.99e8), size(1.5e12)
    ('999 MB', '1.5 TB')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9)):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return f"{number / 1e6:.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--inputs", type=Path, help="JSON object with the inputs that differ")
    parser.add_argument("--print-inputs", action="store_true")
    parser.add_argument("--events-a-day", type=int, nargs="*", default=[10**6, 10**7, 10**8, 10**9])
    options = parser.parse_args()
    inputs = replace(Inputs(), **json.loads(options.inputs.read_text())) if options.inputs else Inputs()
    if options.print_inputs:
        print(json.dumps(asdict(inputs), indent=2))
        return
    print("\n".join(table([compute(events, inputs) for events in options.events_a_day])))


if __name__ == "__main__":
    main()
