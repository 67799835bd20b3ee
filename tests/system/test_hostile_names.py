"""Names that multiply: time and memory of a load depend on the bytes that it reads, not on the names in them."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loader.config import Settings
from tests.support.endpoint import new_key, serving
from tests.support.hostile_names import batch_body, nested_events, spelled_events, wide_events
from tests.support.loading import Event, event, held, load_events, ndjson, one
from tests.support.waiting import until

#: Of a load. The time is for a busy machine with two cores: at first for 500 columns, then for the bytes.
MAX_MB, MAX_SECONDS, SECONDS_PER_MB = 600, 20, 6
#: Half of it for files, half for the endpoint.
FUZZ_SECONDS = float(os.environ.get("SELLIGENT_TEST_FUZZ_SECONDS", "24")) / 2
EVENTS = int(os.environ.get("SELLIGENT_TEST_HOSTILE_EVENTS", "20000"))

#: Loads the files that it reads from standard input, and writes the peak of its memory after each.
LOADER = """
import sys
from tests.support.loading import load
from loader.config import Settings
from loader.pipeline.options import Options
for path in sys.stdin:
    load(Settings(*sys.argv[1:]), [path.strip()], Options(max_rejects=1 << 30))
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0], flush=True)
"""


def peak_mb(pid: int | str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) >> 10


@contextmanager
def loading(settings: Settings) -> Iterator[Callable[[Path], None]]:
    """Yield a function that loads a file in another process, and checks the time and the memory for it."""
    command = [sys.executable, "-c", LOADER, str(settings.database_url), settings.schema]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdin
        assert child.stdout

        def load(path: Path) -> None:
            assert child.stdin
            assert child.stdout
            size, begun = path.stat().st_size, time.monotonic()
            print(path, file=child.stdin, flush=True)
            peak = int(child.stdout.readline()) >> 10
            assert peak < MAX_MB
            assert time.monotonic() - begun < MAX_SECONDS + SECONDS_PER_MB * size / 1e6

        try:
            yield load
        finally:
            child.stdin.close()
    assert child.returncode == 0


def check_accounts(settings: Settings) -> None:
    """Check that every event that was read is stored once, or rejected for a limit that is documented."""
    sums = one(
        settings,
        "select sum(events_loaded) as loaded, "
        "sum(events_read - events_loaded - events_duplicate - events_rejected - events_ignored) as lost from files",
    )
    assert sums["lost"] == 0
    assert one(settings, "select count(*) from tracks")["count"] == sums["loaded"]
    other = "select count(*) from rejected_events where reason not in ('no_table', 'too_large')"
    assert one(settings, other) == {"count": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    "events",
    [spelled_events(10**6, 1500), nested_events(10**6, 60), nested_events(10**6, 600), wide_events(10**6, 1500)],
    ids=["spelled", "nested", "nested deeply", "wide"],
)
def test_a_batch_whose_names_multiply_is_loaded(settings: Settings, tmp_path: Path, events: Iterator[Any]) -> None:
    (tmp_path / "1.jsonl").write_bytes(batch_body(events))
    (tmp_path / "2.jsonl").write_bytes(ndjson([event(messageId="next", properties={"email_id": "e1"})]))
    with loading(settings) as load:
        load(tmp_path / "1.jsonl")
        load(tmp_path / "2.jsonl")
    assert one(settings, "select email_id from email_opened where id = 'next'") == {"email_id": "e1"}
    check_accounts(settings)


def test_values_that_waited_for_many_columns_are_placed_in_little_memory(settings: Settings, tmp_path: Path) -> None:
    waiting = [
        event(event="Other", messageId=f"w{n}", properties={f"p{n}_{k}": k for k in range(8)}) for n in range(60)
    ]
    load_events(settings, [event(event="Other", messageId="first")], tmp_path, "table")
    with held(settings, "other"):
        load_events(settings, waiting, tmp_path, "waiting")
    (tmp_path / "next.jsonl").write_bytes(ndjson([event(messageId="next")]))
    with loading(settings) as load:
        load(tmp_path / "next.jsonl")
    assert one(settings, "select p59_7 from other where id = 'w59'") == {"p59_7": 7}


@pytest.mark.slow
def test_a_segment_of_such_events_is_loaded(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_bytes(ndjson(nested_events(EVENTS, 60)))
    with loading(settings) as load:
        load(tmp_path / "1.jsonl")
    assert one(settings, "select count(*) from tracks") == {"count": EVENTS}
    check_accounts(settings)


NUMBERS = count()
WORDS = ["a", "A", "a.b", "a_b", "aB", "A.B", "a-b", "b", "0", "é", "", "email_id", "emailId", "id", "a/b", "x" * 3000]
NAMES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(".".join)
SCALARS = st.sampled_from([1, 1.5, "x", "", None, True, "2025-01-01T00:00:00Z", "x" * 5000, 10**30])
ARRAYS = st.builds(lambda item, length: [item] * length, SCALARS, st.sampled_from([0, 1, 300, 3000]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS | ARRAYS, lambda inner: st.dictionaries(NAMES, inner, max_size=20), max_leaves=40
)


@st.composite
def families(draw: st.DrawFn) -> Callable[[random.Random, int], Event]:
    """Return a function that makes events whose names are made by one rule, from a source of chance and a number."""
    vocabulary, names = draw(st.sampled_from([1, 10, 500, 10**6])), draw(st.sampled_from([1, 10, 100, 1000]))
    depth, is_spelled = draw(st.sampled_from([0, 1, 2, 5, 20])), draw(st.booleans())
    separators = draw(st.sampled_from(["._- /~é", "_", "."]))
    value, tables = draw(VALUES), draw(st.sampled_from([1, 3, 1000]))
    field = draw(st.sampled_from(["properties", "context", "more"]))

    def name(chance: random.Random) -> str:
        number = str(chance.randrange(vocabulary))
        return "p" + (chance.choice(separators).join(number) if is_spelled else number)

    def make(chance: random.Random, n: int) -> Event:
        content: dict[str, Any] = {}
        for _ in range(names):
            place = content
            for _ in range(chance.randint(0, depth)):
                inside = place.setdefault(name(chance), {})
                place = inside if isinstance(inside, dict) else place
            place[name(chance)] = chance.choice([deepcopy(value), n, "x"])
        return event(messageId=f"m{next(NUMBERS)}", event=f"Event {chance.randrange(tables)}", **{field: content})

    return make


BYTES = 400_000


def fuzz(use: Callable[[list[bytes]], None], seconds: float) -> None:
    """Call a function with lines of events, made by several rules and about BYTES long, for a time."""
    deadline = time.monotonic() + seconds

    @hypothesis_settings(
        max_examples=10**6,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(families(), min_size=1, max_size=3), st.integers(0, 2**32))
    def run(makers: list[Callable[[random.Random, int], Event]], seed: int) -> None:
        if time.monotonic() > deadline:
            raise TimeoutError
        chance, lines, size = random.Random(seed), [], 0
        for n in range(5000):
            line = json.dumps(makers[n % len(makers)](chance, n)).encode()
            if (size := size + len(line)) > BYTES:
                break
            lines.append(line)
        use(lines)

    with suppress(TimeoutError):
        run()


@pytest.mark.slow
def test_a_fuzzer_finds_no_file_that_takes_much_time_or_memory(settings: Settings, tmp_path: Path) -> None:
    files = 0
    with loading(settings) as load:

        def use(lines: list[bytes]) -> None:
            nonlocal files
            files += 1
            path = tmp_path / f"{files}.jsonl"
            path.write_bytes(b"\n".join(lines) + b"\n")
            load(path)
            path.unlink()

        fuzz(use, FUZZ_SECONDS)
    assert files
    check_accounts(settings)


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.slow
def test_a_fuzzer_finds_no_request_that_holds_up_others(settings: Settings, tmp_path: Path) -> None:
    key, peaks, sent, ending = new_key(settings), [0], list[int](), threading.Event()
    with serving(settings, tmp_path, "--load-every", "1s", "--refresh-every", "1h", "--rate", "0", key=key) as server:

        def watch() -> None:
            while not ending.wait(0.02):
                for child in children(server.process.pid):
                    with suppress(OSError, IndexError):
                        peaks.append(peak_mb(child))

        def use(lines: list[bytes]) -> None:
            body = b'{"batch":[%s]}' % b",".join(line for line in lines if len(line) < 32 << 10)
            assert server.post("batch", body).status_code in (200, 400)
            sent.append(len(body))
            time.sleep(0.5)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            fuzz(use, FUZZ_SECONDS)
            assert server.post("track", event(messageId="honest", event="Email Opened")).status_code == 200
            size = max(sum(sent), FUZZ_SECONDS * BYTES)
            until(lambda: not server.figure("spool_bytes"), MAX_SECONDS + SECONDS_PER_MB * size / 1e6)
        finally:
            ending.set()
            watcher.join()
        assert max(peaks) < MAX_MB
        assert peak_mb(server.process.pid) < MAX_MB
    assert one(settings, "select count(*) from email_opened where id = 'honest'") == {"count": 1}
    check_accounts(settings)
