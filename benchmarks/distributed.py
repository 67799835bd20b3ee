"""Compare local with distributed tables in one database of a Citus cluster, named by SELLIGENT_DATABASE_URL.

    python -m benchmarks.distributed --events 200000 --rounds 3 --shards 8 32

Local and distributed tables take turns. A ratio above 1 means that the distributed ones take longer. All nodes on one
machine show what distribution costs, not what more machines bring.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from psycopg.conninfo import make_conninfo

from benchmarks.__main__ import write_sample
from benchmarks.loading import drop, execute, load_file
from loader.config import Settings, settings
from loader.migrate import migrate
from loader.views.refresh import refresh

#: Questions of analysts to the event tables, which the stored figures do not answer.
QUESTIONS = {
    "events by collection and month": """
        select event, date_trunc('month', original_timestamp), count(*) from {schema}.tracks group by 1, 2
    """,
    "recipients with most clicks": """
        select user_id, count(*) from {schema}.email_link_clicked group by user_id order by 2 desc limit 10
    """,
    "opens within an hour of the delivery": """
        select count(*) from {schema}.email_delivered as delivered
        join {schema}.email_opened as opened on opened.user_id = delivered.user_id
            and opened.email_id = delivered.email_id and opened.campaign_id = delivered.campaign_id
            and opened.original_timestamp
                between delivered.original_timestamp and delivered.original_timestamp + interval '1 hour'
    """,
}
#: Citus joins tables by other columns than the distribution column only if it may send their rows to each other.
OPTIONS = "-c citus.enable_repartition_joins=on -c citus.shard_count={shards}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distributed", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shards", type=int, nargs="*", default=[8, 32])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="selligent-bench-") as folder:
        path = write_sample(Path(folder) / "events.jsonl", options.events)
        for shards in options.shards:
            print(f"| {shards} shards | local | distributed | ratio |\n|---|---|---|---|", flush=True)
            for row in compare(path, shards, options.rounds):
                print(f"| {' | '.join(row)} |", flush=True)


def compare(path: Path, shards: int, rounds: int) -> Iterator[tuple[str, ...]]:
    """Yield what is done, the median seconds in local and in distributed tables, and their ratio."""
    url = make_conninfo(settings().database_url or "", options=OPTIONS.format(shards=shards))
    taken: dict[str, tuple[list[float], list[float]]] = {}
    for _ in range(rounds):
        for side, name in enumerate(("bench_local", "bench_spread")):
            source = Settings(url, name)
            drop(source)
            migrate(source, is_distributed=bool(side))
            load_file(source, path)  # makes columns and tables, which happens once
            tables = "tracks, email_delivered, email_opened, email_link_clicked, email_bounced, email_unsubscribed"
            names = [f"{source.schema}.{table.strip()}" for table in f"{tables}, email_marked_as_spam".split(",")]
            execute(source, f"truncate {', '.join(names)}, {source.schema}.email_machine_opened")
            execute(source, f"delete from {source.ops}.chunks")
            execute(source, "checkpoint")
            for what, run in steps(source, path):
                started = time.perf_counter()
                run()
                taken.setdefault(what, ([], []))[side].append(time.perf_counter() - started)
    for what, (local, spread) in taken.items():
        yield what, f"{median(local):.2f} s", f"{median(spread):.2f} s", f"{median(spread) / median(local):.2f}"


def steps(source: Settings, path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is measured, in order."""
    yield "load", lambda: load_file(source, path, again=True)
    yield "load of the same events", lambda: load_file(source, path, again=True)
    yield "refresh of all events", lambda: refresh(source)
    for question, query in QUESTIONS.items():
        yield (
            question,
            partial(execute, source, f"select count(*) from ({query.format(schema=source.schema)}) as answer"),
        )


if __name__ == "__main__":
    main()
