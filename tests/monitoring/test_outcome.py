"""The metrics file: complete at any time, and failed loads keep the metrics of the last successful one."""

import os
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from loader.config import Settings
from tests.support.command_line import AWAY, Run
from tests.support.loading import event, ndjson, one

OWN = (("schema", "selligent"),)
Metrics = dict[str, dict[tuple[tuple[str, str], ...], float]]


def read(path: Path) -> Metrics:
    """Return the samples of a file by name and labels; check that each metric is a gauge with a help text."""
    metrics: Metrics = {}
    for family in text_string_to_metric_families(path.read_text("utf-8")):
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            metrics.setdefault(sample.name.removeprefix("selligent_loader_"), {})[labels] = sample.value
    return metrics


def good(metrics: Metrics) -> Metrics:
    return {name: values for name, values in metrics.items() if name.startswith("last_success_")}


def test_metrics_say_what_a_load_did(run: Run, settings: Settings, tmp_path: Path) -> None:
    lines = [event(messageId=f"m{n}") for n in range(7)] + [event(messageId="m0"), event(type="identify", event=None)]
    started = time.time()
    assert run("load", "-", "--metrics", "load.prom", stdin=ndjson(lines)).code == 0
    found = read(tmp_path / "load.prom")
    assert started <= found["last_success_timestamp_seconds"][OWN] <= time.time()
    assert started <= found["last_run_timestamp_seconds"][OWN] <= time.time()
    assert 0 < found["last_run_duration_seconds"][OWN] < 60
    assert found["last_run_exit_code"][OWN] == 0
    ledger = one(settings, "select * from loads")
    assert found["last_success_events_read"][OWN] == ledger["events_read"] == 9
    outcomes = {labels[0][1]: value for labels, value in found["last_success_events"].items()}
    assert outcomes == {"loaded": 7, "duplicate": 1, "rejected": 0, "ignored": 1, "suppressed": 0}
    rows = {dict(labels)["table"]: value for labels, value in found["last_success_rows"].items()}
    assert rows == {"email_opened": 7, "tracks": 7}


def test_a_failed_load_keeps_the_last_good_one(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "load.prom"
    failing = [("load", "missing"), ("load", "-", "--database-url", AWAY), ("load", "-", "--schema", "selligent", "no")]
    assert run(*failing[0], "--metrics", "load.prom").code == 1
    assert good(read(path)) == {}  # no load has succeeded yet
    assert run("load", "-", "--metrics", "load.prom", stdin=ndjson([event()])).code == 0
    before = read(path)
    for command in failing:
        assert run(*command, "--metrics", "load.prom", stdin=ndjson([event(messageId="m2")])).code == 1
        after = read(path)
        assert good(after) == good(before) != {}
        assert after["last_run_exit_code"][OWN] == 1
        assert after["last_run_timestamp_seconds"][OWN] > before["last_run_timestamp_seconds"][OWN]
    assert run("load", "-", "--metrics", "load.prom").code == 0  # a successful load without events
    assert read(path)["last_success_timestamp_seconds"][OWN] > before["last_success_timestamp_seconds"][OWN]


def test_a_partial_load_is_told_with_its_exit_code_and_its_rejects(run: Run, tmp_path: Path) -> None:
    assert run("load", "-", "--metrics", "load.prom", stdin=ndjson([event()]) + b"5\n").code == 3
    found = read(tmp_path / "load.prom")
    assert found["last_run_exit_code"][OWN] == 3
    assert found["last_success_events"][("outcome", "rejected"), OWN[0]] == 1


def test_the_file_is_replaced_as_a_whole(run: Run, tmp_path: Path) -> None:
    path, reader = tmp_path / "load.prom", tmp_path / "reader"
    assert run("load", "-", "--metrics", "load.prom", stdin=ndjson([event()])).code == 0
    os.link(path, reader)  # like a reader that has opened the file
    before = reader.read_bytes()
    assert run("load", "missing", "--metrics", "load.prom").code == 1
    assert reader.read_bytes() == before != path.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {"load.prom", "reader"}


def test_metrics_that_cannot_be_written_or_read_fail_no_load(run: Run, tmp_path: Path) -> None:
    ended = run("load", "-", "--metrics", "nowhere/load.prom", stdin=ndjson([event()]))
    assert (ended.code, "metrics cannot be written to nowhere/load.prom: No such file" in ended.err) == (0, True)
    (tmp_path / "load.prom").write_bytes(b"\xff no metrics {")
    ended = run("load", "missing", "--metrics", "load.prom")
    assert (ended.code, "metrics of the last successful load cannot be read" in ended.err) == (1, True)
    assert read(tmp_path / "load.prom")["last_run_exit_code"][OWN] == 1


def test_a_dry_run_leaves_the_metrics_alone(run: Run, tmp_path: Path) -> None:
    assert run("load", "-", "--dry-run", "--metrics", "load.prom", stdin=ndjson([event()])).code == 0
    assert not (tmp_path / "load.prom").exists()
