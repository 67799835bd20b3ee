"""What a list of suppressed people costs a load: processor time with and without one, in alternation.

Run `python -m benchmarks.suppression FOLDER [EVENTS] [ROUNDS]`. An embedded server is made in the folder.
"""

import statistics
import sys
import time
from pathlib import Path

from benchmarks.loading import empty, load_file
from loader.config import Settings
from loader.pipeline.suppression import change_list
from loader.postgres import embedded
from loader.sample import ndjson as sample
from loader.schema.source import open_warehouse

#: People on the list. None of them is in the events, as most events are of others.
PEOPLE = 100_000


def measure_load(settings: Settings, path: Path, people: int) -> float:
    """Return the processor seconds of this process for a load into empty tables, with so many suppressed people."""
    empty(settings)
    with open_warehouse(settings) as warehouse, warehouse.transaction():
        change_list(warehouse, add=[f"person.{n:07d}@suppressed.example" for n in range(people)])
    started = time.process_time()
    load_file(settings, path)
    return time.process_time() - started


def main() -> None:
    """Print the cost as a share of the time without a list."""
    folder = Path(sys.argv[1])
    events, rounds = (int(text) for text in [*sys.argv[2:], "200000", "5"][:2])
    path = folder / "events.jsonl"
    path.write_bytes(b"".join(sample.lines(events, seed=2025)))
    server = embedded.start(folder / "home")
    settings = Settings(server.url, "suppression")
    try:
        measure_load(settings, path, 0)
        found = [(measure_load(settings, path, 0), measure_load(settings, path, PEOPLE)) for _ in range(rounds)]
    finally:
        embedded.stop(folder / "home")
    without, with_list = (statistics.median(times) for times in zip(*found, strict=True))
    print(f"{events:,} events: {without:.2f} s of processor time, {with_list:.2f} s with {PEOPLE:,} suppressed people")
    print(f"{with_list / without - 1:+.1%}")


if __name__ == "__main__":
    main()
