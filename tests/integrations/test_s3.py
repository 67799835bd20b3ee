"""What is written to an object store or a folder; a load of it gives the same rows."""

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as rules
from hypothesis import strategies as st

from loader.config import Settings
from loader.errors import UsageError
from loader.inputs.object_store import write_file
from loader.integrations.outcomes import DELIVERED, TryLater
from loader.integrations.protocol import Integration
from loader.pipeline.options import Options
from tests.conftest import clone
from tests.support.loading import event, load, load_bytes, select
from tests.support.object_store import SECRET, s3_bucket, s3_server
from tests.support.targets import batch, integration
from tests.support.vendors import events

fsspec = pytest.importorskip("fsspec")
#: 2025-01-01 and 2025-01-02 as Unix time in milliseconds.
FIRST_DAY, SECOND_DAY = "1735689600000", "1735776000000"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with s3_bucket(endpoint, monkeypatch) as system:
        yield system


def archive(url: str, secret: str = "") -> Integration:
    return integration("s3", secret, url=url)


def store(made: Integration, *samples: Any, key: str = "spool-7-0") -> None:
    assert made.deliver(batch(made, *samples, key=key)) == [DELIVERED] * len(samples)


def contents(folder: Path) -> dict[str, list[Any]]:
    """Return the events of all files below a folder, by the path of the file."""
    return {
        path.relative_to(folder).as_posix(): [
            json.loads(line) for line in gzip.decompress(path.read_bytes()).split(b"\n")[:-1]
        ]
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


SAMPLES = [
    event(messageId="m1", properties={"campaign_id": "c1", "price": 1.50}),
    event(messageId="m2", receivedAt="2025-01-02T23:59:59.999Z", context={"campaign": {"name": "May"}}),
    event(messageId="m3", type="identify", event=None),
    event(messageId="m4", event="Email Bounced", receivedAt="2025-01-02T00:00:00+02:00"),
]


def test_events_lie_in_the_folder_of_the_day_on_which_they_were_received(tmp_path: Path) -> None:
    store(archive(str(tmp_path / "new" / "logs")), *SAMPLES)
    assert contents(tmp_path / "new" / "logs") == {
        f"{FIRST_DAY}/spool-7-0.gz": [SAMPLES[0], SAMPLES[2], SAMPLES[3]],
        f"{SECOND_DAY}/spool-7-0.gz": [SAMPLES[1]],
    }


def test_writing_again_changes_nothing_and_a_longer_file_replaces_a_shorter_one(tmp_path: Path) -> None:
    made, place = archive(str(tmp_path)), tmp_path / FIRST_DAY / "spool-7-0.gz"
    store(made, SAMPLES[0])
    first = place.read_bytes()
    assert first[4:8] == bytes(4), "the time of writing is not in the file"
    store(made, SAMPLES[0])
    assert place.read_bytes() == first
    store(made, SAMPLES[0], SAMPLES[2])
    assert contents(tmp_path) == {f"{FIRST_DAY}/spool-7-0.gz": [SAMPLES[0], SAMPLES[2]]}


def test_an_event_without_a_readable_time_is_kept_too(tmp_path: Path) -> None:
    sample = event(timestamp=None, originalTimestamp=None, sentAt=None, receivedAt="soon")
    store(archive(str(tmp_path)), sample)
    assert contents(tmp_path) == {"undated/spool-7-0.gz": [sample]}


def rows(settings: Settings) -> list[Any]:
    """Return the rows of all collections and what was rejected or discarded, without what depends on the load."""
    columns = "id, user_id, anonymous_id, event, event_text, original_timestamp, sent_at, received_at, timestamp"
    found: list[Any] = select(settings, f"select {columns} from tracks order by id, timestamp")
    found += select(settings, "select reason, raw from rejected_events order by reason, raw")
    names = [row["event"] for row in select(settings, "select distinct event from tracks order by 1")]
    for name in names:
        text = "select to_jsonb(whole.*) - 'uuid_ts' as row from {} whole order by whole.id"
        found += select(settings, text.format('"' + name + '"'))
    return found


@pytest.fixture
def another(server: str, template: str) -> Iterator[Settings]:
    with clone(server, template) as settings:
        yield settings


def compact(samples: Sequence[Any]) -> bytes:
    """Return events as the endpoint stores them, since the raw bytes of rejects are compared too."""
    return b"".join(json.dumps(item, separators=(",", ":")).encode() + b"\n" for item in samples)


def load_folder(settings: Settings, url: str) -> None:
    load(settings, [url], Options())


@pytest.mark.parametrize("kind", ["folder", "memory", "s3"])
def test_a_load_of_the_archive_gives_the_same_rows(
    kind: str, settings: Settings, another: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "s3":
        request.getfixturevalue("bucket")
    url = {"folder": str(tmp_path / "logs"), "memory": f"memory://{tmp_path.name}", "s3": "s3://events/logs/x"}[kind]
    samples = [*SAMPLES, event(messageId=None), event(messageId="m6", properties={"a": [1], "b": {"c": None}})]
    made = archive(url)
    store(made, *samples[:3])
    store(made, *samples[3:], key="spool-7-999")
    store(made, *samples[3:], key="spool-7-999")
    load_bytes(settings, compact(samples), tmp_path)
    load_folder(another, url)
    assert rows(another) == rows(settings)
    assert len(select(settings, "select 1 from tracks")) == 5


def is_exact(item: Any) -> bool:
    """Return whether an event is stored byte for byte: halves of surrogate pairs are replaced in an archive."""
    return not re.search("[\ud800-\udfff]", json.dumps(item, ensure_ascii=False))


LOADABLE = events().map(lambda sent: [item for item in sent if is_exact(item)])


@rules(
    max_examples=4, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(LOADABLE, min_size=1, max_size=3))
def test_strange_events_load_again_to_the_same_rows(
    server: str, template: str, tmp_path_factory: pytest.TempPathFactory, groups: Sequence[list[dict[str, Any]]]
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    made = archive(str(folder / "logs"))
    sent: list[Any] = []
    for number, group in enumerate(groups):
        samples = [{**item, "messageId": f"{number}-{place}"} for place, item in enumerate(group)]
        sent += samples
        if samples:
            store(made, *samples, key=f"spool-{number}")
    if not sent:
        return
    with clone(server, template) as direct, clone(server, template) as archived:
        load_bytes(direct, compact(sent), folder)
        load_folder(archived, str(folder / "logs"))
        assert rows(archived) == rows(direct)


def test_a_bucket_that_does_not_exist_is_not_created(bucket: Any) -> None:
    made = archive("s3://elsewhere/logs")
    with pytest.raises(TryLater) as raised:
        store(made, SAMPLES[0])
    assert raised.value.reason == "storage"
    assert not bucket.exists("elsewhere")


def test_the_options_of_the_system_are_the_secret_and_are_never_shown(
    endpoint: str, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    given = {"key": "someone-else", "secret": SECRET, "endpoint_url": endpoint}
    made = archive("s3://events/logs", json.dumps(given))
    store(made, SAMPLES[0])
    assert bucket.find("events/logs") == [f"events/logs/{FIRST_DAY}/spool-7-0.gz"]
    assert SECRET not in made.preview(batch(made, SAMPLES[0]))
    unreachable = archive("s3://events/logs", json.dumps({**given, "endpoint_url": f"http://127.0.0.1:1/{SECRET}"}))
    with pytest.raises(TryLater) as raised:
        store(unreachable, SAMPLES[0])
    assert SECRET not in str(raised.value)


def test_a_full_disk_is_tried_again_and_leaves_no_part_of_a_file(disk: Path) -> None:
    made = archive(str(disk / "logs"))
    store(made, SAMPLES[0])
    big = event(messageId="big", properties={str(n): f"{n * 7919 % 1_000_003}-{n}" for n in range(300_000)})
    with pytest.raises(TryLater):
        store(made, big, key="spool-7-1")
    assert list(contents(disk)) == [f"logs/{FIRST_DAY}/spool-7-0.gz"]


@pytest.mark.parametrize("kind", ["folder", "memory"])
def test_a_test_writes_a_file_and_removes_it(kind: str, tmp_path: Path) -> None:
    url = str(tmp_path / "logs") if kind == "folder" else f"memory://{tmp_path.name}"
    made = archive(url)
    (outcome,) = made.test(batch(made, SAMPLES[0]))
    assert (outcome.status, outcome.answer) == ("delivered", f"{url} can be written")
    system, path = fsspec.core.url_to_fs(url)
    assert system.find(path) == []


def test_the_preview_shows_the_file_and_its_lines(tmp_path: Path) -> None:
    made = archive(f"file://{tmp_path}/")
    text = made.preview(batch(made, SAMPLES[0], key="test"))
    assert text.startswith(f"file://{tmp_path}/{FIRST_DAY}/test.gz\n\n")
    assert '"messageId":"m1"' in text


def test_in_a_system_with_folders_a_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    system = fsspec.filesystem("file")
    path = str(tmp_path / "a" / "b" / "c.gz")
    write_file(system, path, b"one")
    write_file(system, path, b"two")
    assert [(found.name, found.read_bytes()) for found in Path(path).parent.iterdir()] == [("c.gz", b"two")]


@pytest.mark.parametrize(
    ("url", "secret", "problem"),
    [
        ("logs", "", "whole path"),
        ("s4://bucket", "", "unknown protocol"),
        ("s3://user:password@bucket", "", "password"),
        ("memory://a", "[1]", "JSON object"),
        ("memory://a", SECRET, "JSON object"),
        ("/tmp", '{"key": 1}', "no options"),
    ],
)
def test_an_invalid_setting_is_refused(url: str, secret: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem) as raised:
        archive(url, secret)
    assert SECRET not in str(raised.value)
