"""The commands for integrations, run as a user runs them."""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from loader.config import Settings
from tests.support.command_line import COMMAND, Ended, environment, run_command
from tests.support.forwarding import received, spooling, write
from tests.support.loading import select
from tests.support.targets import Received, Reply, target

SECRET = "whsec_" + "c2VjcmV0" * 6
LOCAL = ("--allow-http", "--allow-private")

#: Commands that show what is known of an integration, or what its target says.
SHOWING = (
    ("list", "--json"),
    ("show", "segment", "--json"),
    ("test", "segment", "--send"),
    ("failed", "segment", "--json"),
    ("failed", "segment", "--export", "-"),
    ("failed", "segment", "--retry"),
)
STORED = "select i::text from integrations as i union all select u::text from undelivered_events as u"


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Any:
    def run(*arguments: str, **named: Any) -> Ended:
        return run_command(settings, tmp_path, *arguments, SELLIGENT_HOME=str(tmp_path / "home"), **named)

    return run


def test_an_integration_from_add_to_remove(settings: Settings, tmp_path: Path, run: Any) -> None:
    spool = tmp_path / "home" / "spool"
    with target() as place:
        where = ("--set", f"url={place.url}")
        assert run("integrations", "list").out == (
            "no integration exists; `selligent-loader integrations add` adds one\n"
        )
        added = run(
            "integrations", "add", "webhook", *where, *LOCAL, "--secret-from-stdin", stdin=f"{SECRET}\n".encode()
        )
        assert (added.code, added.err) == (0, "")
        preview = run("integrations", "test", "webhook")
        assert "Abandoned cart" in preview.out
        assert "anna@example.com" not in preview.out
        assert not place.requests
        assert run("integrations", "test", "webhook", "--send").code == 0
        assert Webhook(SECRET).verify(place.requests[0].body, dict(place.requests[0].headers))
        place.requests.clear()
        with spooling(spool) as opened:
            write(opened, [received(n, receivedAt="2099-01-01T00:00:00Z") for n in range(5)])
        assert run("forward", "--once").code == 0
        assert [len(request.json) for request in place.requests] == [5]
        (row,) = json.loads(run("integrations", "list", "--json").out)["integrations"]
        assert (row["events_delivered"], row["lag_events"]) == (5, 0)
        assert run("integrations", "pause", "webhook").code == 0
        assert run("forward", "--once").code == 0
        assert run("integrations", "resume", "webhook").out == "integration webhook is enabled\n"
        shown = run("integrations", "show", "webhook").out
        assert "stored, encrypted" in shown
        assert run("integrations", "remove", "webhook").code == 0
        assert run("integrations", "show", "webhook").code == 2
    assert select(settings, "select * from forwarding") == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("add", "nothing"), "there is no integration 'nothing'; there are"),
        (("add", "webhook", "--set", "url=https://example.com"), "needs a secret"),
        (("add", "webhook", "--set", "url=http://example.com", "--secret-from-stdin"), "not encrypted"),
        (("add", "webhook", "--set", "url=https://10.0.0.1", "--secret-from-stdin"), "private address"),
        (("add", "webhook", "--set", "url", "--secret-from-stdin"), "--set name=value"),
        (("add", "webhook", "--name", "a b", "--set", "url=https://a.example", "--secret-from-stdin"), "not a name"),
        (("pause", "other"), "there is no integration 'other'"),
        (("replay", "other"), "name the events"),
        (("failed", "other"), "there is no integration 'other'"),
    ],
)
def test_a_mistake_is_explained_without_the_secret(run: Any, arguments: tuple[str, ...], problem: str) -> None:
    ended = run("integrations", *arguments, stdin=SECRET.encode())
    assert ended.code == 2
    assert problem in ended.err
    assert SECRET not in ended.err + ended.out


def test_no_secret_is_in_any_output_log_list_of_processes_or_table(
    settings: Settings, tmp_path: Path, run: Any
) -> None:
    """The target answers with the secret that it was sent."""
    secret = "write-key-that-nobody-may-see"

    def answer(request: Received) -> Reply:
        return Reply(400, json.dumps(dict(request.headers)).encode() + secret.encode(), {"X-Secret": secret})

    spool = tmp_path / "home" / "spool"
    (tmp_path / "secret").write_text(secret)
    with target(answer) as place:
        given = ("--set", f"url={place.url}", *LOCAL, "--secret-file", "secret")
        texts = [run("integrations", "add", "segment", *given)]
        texts.append(run("integrations", "add", "segment", *given))
        with spooling(spool) as opened:
            write(opened, [received(n, receivedAt="2099-01-01T00:00:00Z") for n in range(3)])
        forwarding = subprocess.Popen(
            [COMMAND, "forward", "--verbose"],
            env=environment(settings, SELLIGENT_HOME=str(tmp_path / "home")),
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 30
        while len(select(settings, "select 1 from undelivered_events")) < 3 and time.monotonic() < deadline:
            time.sleep(0.1)
        process = Path(f"/proc/{forwarding.pid}")
        seen = process.joinpath("cmdline").read_bytes() + process.joinpath("environ").read_bytes()
        forwarding.terminate()
        log = forwarding.communicate(timeout=30)[1]
        texts += [run("integrations", *arguments) for arguments in SHOWING]
        texts += [run("status", "--json"), run("check", "--json")]
    stored = select(
        settings, "select integrations::text as t from integrations union all select u::text from undelivered_events u"
    )
    spoken = "".join(ended.out + ended.err for ended in texts) + log.decode() + json.dumps(stored, default=str)
    files = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    assert len(stored) == 4
    assert "400" in spoken
    encoded = "d3JpdGUta2V5LXRoYXQtbm9ib2R5LW1heS1zZWU6"
    assert not [text for text in (secret, encoded) if text in spoken or text.encode() in seen + files]


def test_dead_letters_are_listed_exported_and_delivered_again(settings: Settings, tmp_path: Path, run: Any) -> None:
    is_repaired = [False]

    def answer(request: Received) -> Reply:
        bad = not is_repaired[0] and any(item["messageId"] == "m1" for item in request.json["batch"])
        return Reply(422, b"m1 has no price") if bad else Reply()

    (tmp_path / "secret").write_text("write-key-0123456789")
    with target(answer) as place:
        run("integrations", "add", "segment", "--set", f"url={place.url}", *LOCAL, "--secret-file", "secret")
        with spooling(tmp_path / "home" / "spool") as opened:
            write(opened, [received(n, receivedAt="2099-01-01T00:00:00Z") for n in range(3)])
        assert run("forward", "--once").code == 0
        (letter,) = json.loads(run("integrations", "failed", "segment", "--json").out)["undelivered_events"]
        assert (letter["message_id"], letter["status"], letter["answer"]) == ("m1", 422, "m1 has no price")
        assert run("check").code != 0
        exported = json.loads(run("integrations", "failed", "segment", "--export", "-").out)
        assert (exported["event"]["messageId"], exported["reason"]) == ("m1", "refused")
        assert run("integrations", "failed", "segment", "--retry").out.startswith(
            "0 events delivered, 0 skipped, 1 not"
        )
        is_repaired[0] = True
        place.requests.clear()
        assert run("integrations", "failed", "segment", "--retry").out.startswith("1 events delivered")
        assert [item["messageId"] for item in place.requests[0].json["batch"]] == ["m1"]
    assert run("integrations", "failed", "segment").out == "every event has been delivered\n"


def test_a_replay_sends_files_and_kept_segments_of_some_days_to_one_integration(
    settings: Settings, tmp_path: Path, run: Any
) -> None:
    folder = tmp_path / "archive" / "segment-logs" / "source"
    for day, stamp in ((1, 1735689600000), (2, 1735776000000)):
        (folder / str(stamp)).mkdir(parents=True)
        events = [received(n, receivedAt=f"2025-01-0{day}T00:00:0{n}Z") for n in range(3)]
        off = received(9, receivedAt=f"2025-01-0{day}T00:00:09Z", integrations={"Segment.io": False})
        content = b"".join(
            json.dumps({**e, "messageId": f"d{day}-{e['messageId']}"}).encode() + b"\n" for e in [*events, off]
        )
        (folder / str(stamp) / "a.jsonl").write_bytes(content)
    (tmp_path / "secret").write_text("write-key-0123456789")
    with target() as place:
        run("integrations", "add", "segment", "--set", f"url={place.url}", *LOCAL, "--secret-file", "secret")
        done = run("integrations", "replay", "segment", "--file", "archive", "--from", "2025-01-02", "--json")
        assert json.loads(done.out) == {"delivered": 3, "skipped": 1, "undelivered": 0, "failures": {}}
        assert [i["messageId"] for i in place.requests[0].json["batch"]] == ["d2-m0", "d2-m1", "d2-m2"]
        place.requests.clear()
        with spooling(tmp_path / "home" / "spool") as opened:
            write(opened, [received(n, receivedAt=f"2025-02-0{n + 1}T00:00:00Z") for n in range(3)])
        done = run("integrations", "replay", "segment", "--from", "2025-02-02", "--to", "2025-02-02")
        assert done.out == "1 events delivered, 0 skipped, 0 not delivered\n"
        assert [i["messageId"] for i in place.requests[0].json["batch"]] == ["m1"]


def test_of_two_forwarders_one_waits_until_the_other_has_ended(settings: Settings, tmp_path: Path, run: Any) -> None:
    (tmp_path / "secret").write_text("write-key-0123456789")
    variables = environment(settings, SELLIGENT_HOME=str(tmp_path / "home"))
    with target() as place, spooling(tmp_path / "home" / "spool") as opened:
        run("integrations", "add", "segment", "--set", f"url={place.url}", *LOCAL, "--secret-file", "secret")

        def start(name: str) -> subprocess.Popen[bytes]:
            with (tmp_path / name).open("wb") as log:
                return subprocess.Popen([COMMAND, "forward"], env=variables, cwd=tmp_path, stderr=log)

        def wait(condition: Any) -> None:
            deadline = time.monotonic() + 30
            while not condition():
                assert time.monotonic() < deadline
                time.sleep(0.05)

        first = start("first")
        write(opened, [received(1, receivedAt="2099-01-01T00:00:00Z")])
        wait(lambda: len(place.requests) == 1)
        second = start("second")
        wait(lambda: b"another process forwards the events" in (tmp_path / "second").read_bytes())
        write(opened, [received(2, receivedAt="2099-01-01T00:00:00Z")])
        wait(lambda: len(place.requests) == 2)
        first.kill()
        first.wait()
        write(opened, [received(3, receivedAt="2099-01-01T00:00:00Z")])
        wait(lambda: "m3" in str([request.json for request in place.requests]))
        os.kill(second.pid, 15)
        assert second.wait(20) == 0
        ids = [item["messageId"] for request in place.requests for item in request.json["batch"]]
    assert list(dict.fromkeys(ids)) == ["m1", "m2", "m3"]  # the kill may repeat the last batch
