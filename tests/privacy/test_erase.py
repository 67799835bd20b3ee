"""A person in every hiding place is erased, and nobody else."""

import gzip
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from loader.api import load as load_and_refresh
from loader.config import Settings
from loader.errors import BusyError, ContentionError, UsageError
from loader.pipeline.options import Options
from loader.postgres.embedded_programs import find_wheel
from loader.privacy.erase import Erasure, ErasureOptions, erase, only_erasure, plan_erasure
from loader.privacy.log import list_erasures, read_certificate, seal
from loader.privacy.subjects import Subject
from loader.schema.source import open_warehouse
from loader.views.refresh import is_stale, refresh
from tests.support.command_line import Run, environment
from tests.support.crash_points import KILLED_AT, at
from tests.support.endpoint import serving
from tests.support.forwarding import spooling, write
from tests.support.loading import Event, content, event, ndjson, one, select
from tests.support.waiting import until

ANNA, ALIAS, OLD, USER = "anna@example.com", "anna+news@example.com", "a.berg@old.example", "customer-4711"
#: Parts of her identities of which none may be left, in any case and encoding.
TRACES = ("anna@", "anna%40", "anna\\u0040", "anna+news", "anna%2b", "a.berg", "customer-4711")
DAY = "2025-01-{:02}T00:00:00.000Z"


def mail(number: int, user: str | None, day: int = 1, name: str = "Email Delivered", **fields: Any) -> Event:
    properties = {"campaign_id": "c1", "email_id": "e1", "campaign_name": "Spring", **fields.pop("properties", {})}
    time = DAY.format(day)
    times = {"originalTimestamp": time, "sentAt": time, "receivedAt": time, "timestamp": time}
    return event(messageId=f"m{number}", userId=user, event=name, properties=properties, **times, **fields)


def trait(email: str) -> dict[str, Any]:
    return {"context": {"traits": {"email": email}, "ip": "198.51.100.7", "userAgent": "Anna's Phone"}}


OTHERS: list[Event] = [
    mail(1, "u1", **trait("otto@example.com")),
    mail(2, "u1", 2, "Email Opened", **trait("otto@example.com")),
    mail(3, "u2", 1, "Email Bounced", **trait("ina@example.com")),
    mail(4, None, 1, anonymousId="hanna@example.com"),
    mail(5, "u3", 2, "Email Link Clicked", properties={"link_id": "l1", "link_url": "https://x.example/?a=b"}),
]
HERS: list[Event] = [
    mail(11, USER, **trait("Anna@Example.com")),
    mail(12, USER, 2, "Email Opened", **trait(ALIAS)),
    mail(13, None, 2, "Email Opened", anonymousId="ANNA@EXAMPLE.COM"),
    mail(14, USER, 3, "Email Link Clicked", **trait(OLD), properties={"link_id": "l1", "email": ANNA, "link_id ": "x"}),
    mail(15, None, 1, anonymousId="browser-1", **trait(" a.berg@OLD.example\u00a0")),
    mail(16, USER, 3, "Made Up", properties={"n": 1}),
    mail(17, USER, 4, "Made Up", properties={"n": f"no number, {ANNA}"}),
]
#: An event of another person with her address in a property.
MENTION = mail(6, "u4", 2, "Email Opened", properties={"forwarded_to": f"x {ANNA} y", "n": 7})
REJECTS = (
    b'{"userId": "customer-4711", "event": "Email Opened"]}',
    b'{"event": "x", "email": "' + quote(ANNA).encode() + b'"]}',
    b'{"event": "x", "email": "anna\\u0040EXAMPLE.com"]}',
    b'{"event": "x", "email": "otto@example.com"]}',
)


def archive(events: Sequence[Event]) -> bytes:
    return ndjson(events)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir(mode=0o700)
    return tmp_path


def make_world(settings: Settings, folder: Path) -> ErasureOptions:
    """Put her into every hiding place: files, rejects, discards, segments that are open, waiting and loaded, a log."""
    everything = [*OTHERS, *HERS, MENTION]
    (folder / "first.jsonl").write_bytes(archive(everything[::2]) + b"\n".join(REJECTS) + b"\n")
    (folder / "second.jsonl").write_bytes(archive(everything[1::2]))
    csv = "userId,event,messageId,originalTimestamp,campaign_id\n" + f"{USER},Email Opened,m9,x,y,z,{ANNA}\n"
    (folder / "third.csv").write_text(csv)
    for name in ("first.jsonl", "second.jsonl", "third.csv"):
        load_and_refresh(settings, [str(folder / name)], Options(max_rejects=9))
    home, spool = folder / "home", folder / "home" / "spool"
    with spooling(spool) as opened:
        for number, part in enumerate((everything[:8], everything[8:], everything)):
            write(opened, part)
            opened.rotate()
            if number == 0:
                opened.archive(opened.closed("selligent")[0])
    place = spool / "selligent"
    (place / ".open" / "000000000099-00000000.jsonl").write_bytes(archive(everything))
    (home / "postgresql.log").write_text(f"ERROR: Key (x)=({ANNA}) exists\nDETAIL: otto@example.com\n")
    return ErasureOptions(spool, home)


def dump(settings: Settings) -> str:
    """Return what pg_dump says of the database."""
    program = find_wheel() / "pginstall/bin/pg_dump"
    if not program.exists():
        program = Path("/usr/bin/pg_dump")
    done = subprocess.run([str(program), "-d", settings.database_url or ""], capture_output=True, check=True)
    return done.stdout.decode()


def texts(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            yield (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


def has_trace(text: str) -> list[str]:
    decoded = text + "".join(bytes.fromhex(found).decode("utf-8", "replace") for found in _bytea(text))
    lower = decoded.lower().replace("hanna@", "").replace("johanna@", "")
    return [trace for trace in TRACES if trace in lower]


def _bytea(text: str) -> list[str]:
    return [word[3:] for word in text.split() if word.startswith("\\\\x") and len(word) % 2]


def figures(settings: Settings, names: Sequence[str]) -> dict[str, list[str]]:
    return {
        name: sorted(
            row["row"] for row in select(settings, f"select (to_jsonb(v) - 'uuid_ts')::text as row from {name} as v")
        )
        for name in names
    }


VIEWS = ("email_events", "email_messages", "recipients", "campaigns", "campaign_days", "links", "campaign_funnel")


def forget(settings: Settings, options: ErasureOptions, *subjects: Subject) -> list[Erasure]:
    done = erase(settings, subjects or [Subject(USER)], options, lambda _: True)
    assert done is not None
    return done


def test_a_person_is_erased_everywhere_and_stays_erased(settings: Settings, folder: Path) -> None:
    options = make_world(settings, folder)
    before = content(settings)
    assert len(has_trace(dump(settings))) >= 5
    assert len(has_trace("".join(texts(options.home)))) >= 4
    (planned,) = plan_erasure(settings, [Subject(USER)], options)
    assert content(settings) == before
    (erasure,) = forget(settings, options)
    assert erasure.person.names == {USER, ANNA, ALIAS, OLD}
    assert has_trace(dump(settings)) == []
    for text in texts(options.home):
        assert has_trace(text) == []
    for place in ("tracks", "rejected_events", "discarded_values", "figures", "spool", "mentions in other events"):
        assert planned.counts[place] == erasure.counts[place] > 0, place
    assert erasure.counts["tracks"] == len(HERS)
    assert erasure.counts["rejected_events"] == 4

    others = {row["id"] for row in select(settings, "select id from tracks")}
    assert others == {f"m{n}" for n in range(1, 7)}
    unchanged = [row for row in before["tracks"] if not any(f'"id": "m1{n}"' in row for n in range(1, 8))]
    assert content(settings)["tracks"] == unchanged
    assert one(settings, "select forwarded_to from email_opened where id = 'm6'") == {"forwarded_to": "x [erased] y"}
    kept = select(settings, "select convert_from(raw, 'utf8') as raw from rejected_events")
    assert [row["raw"] for row in kept] == [REJECTS[3].decode()]
    found = figures(settings, VIEWS)
    refresh(settings, rebuild=True)
    assert figures(settings, VIEWS) == found

    everything, rejected = [*OTHERS, *HERS, MENTION], {"first.jsonl": 3, "third.csv": 1}
    for name, events in (("first.jsonl", everything[::2]), ("second.jsonl", everything[1::2]), ("third.csv", [])):
        result = load_and_refresh(settings, [str(folder / name)], Options(max_rejects=9, again=True))
        hers = sum(item in HERS for item in events)
        assert (result.counts["events_loaded"], result.counts["events_suppressed"]) == (0, hers + rejected.get(name, 0))
    assert has_trace(dump(settings)) == []
    assert figures(settings, VIEWS) == found


def test_anonymized_events_stay_and_so_do_the_figures_of_campaigns(settings: Settings, folder: Path) -> None:
    options = make_world(settings, folder)
    before = figures(settings, ("campaigns", "campaign_days", "links", "campaign_funnel"))
    events = select(settings, "select id, original_timestamp, event from tracks order by id")
    options = ErasureOptions(options.spool, options.home, is_anonymizing=True)
    (erasure,) = forget(settings, options)
    assert has_trace(dump(settings)) == []
    assert select(settings, "select id, original_timestamp, event from tracks order by id") == events
    assert figures(settings, ("campaigns", "campaign_days", "links", "campaign_funnel")) == before
    (token,) = select(settings, "select distinct user_id from tracks where id like 'm1_' and user_id is not null")
    assert token["user_id"].startswith("erased-")
    found = one(settings, "select * from tracks where id = 'm11'")
    assert found["context_ip"] == found["context_user_agent"] == token["user_id"]
    assert found["context_traits_email"] == f"{token['user_id']}@erased.invalid"
    views = figures(settings, VIEWS)
    refresh(settings, rebuild=True)
    assert figures(settings, VIEWS) == views
    assert erasure.counts["tracks"] == len(HERS)


@pytest.mark.slow
def test_user_agents_of_machines_are_judged_as_before(settings: Settings, folder: Path) -> None:
    agents = ("Mozilla/5.0 (via ggpht.com GoogleImageProxy)", "Barracuda Sentinel (EE)", "Anna's Phone", None)
    opened = [mail(0, USER)] + [
        mail(n, USER, 5, "Email Opened", context={"userAgent": agent, "traits": {"email": ANNA}} if agent else {})
        for n, agent in enumerate(agents, 1)
    ]
    (folder / "a.jsonl").write_bytes(archive(opened))
    load_and_refresh(settings, [str(folder / "a.jsonl")], Options())
    query = "select id, actor, rule from email_events order by id"
    before = select(settings, query)
    assert len({row["rule"] for row in before}) == 4
    forget(settings, ErasureOptions(folder / "spool", folder / "home", is_anonymizing=True))
    assert select(settings, query) == before


def make_family(settings: Settings, folder: Path) -> ErasureOptions:
    """Let two people share an address."""
    shared = trait("family@example.com")
    events = [mail(1, "u1", **shared), mail(2, "u2", **shared), mail(3, "u1", **trait("one@example.com"))]
    events += [mail(4, None, anonymousId="family@example.com"), mail(5, "u2", **trait("two@example.com"))]
    (folder / "a.jsonl").write_bytes(archive(events))
    load_and_refresh(settings, [str(folder / "a.jsonl")], Options())
    return ErasureOptions(folder / "spool", folder / "home")


@pytest.mark.parametrize(
    ("subject", "given", "names", "left"),
    [
        (Subject("u1"), {"is_exact": True}, {"u1", "one@example.com"}, ["2", "4", "5"]),
        (Subject("u1"), {"is_shared": True}, {"u1", "u2", "family", "one", "two"}, []),
        (Subject(None, "family@example.com"), {"is_exact": True}, {"family"}, ["3", "5"]),
        (Subject(None, "one@example.com"), {"is_exact": True}, {"u1", "one"}, ["2", "4", "5"]),
    ],
)
def test_a_shared_address_needs_a_decision(
    settings: Settings, folder: Path, subject: Subject, given: dict[str, bool], names: set[str], left: list[str]
) -> None:
    options = make_family(settings, folder)
    before = content(settings)
    with pytest.raises(UsageError, match=r"shares family@example[.]com with u"):
        forget(settings, options, subject)
    assert content(settings) == before
    (erasure,) = forget(settings, ErasureOptions(options.spool, options.home, **given), subject)
    assert {name.removesuffix("@example.com") for name in erasure.person.names} == {
        name.removesuffix("@example.com") for name in names
    }
    assert [row["id"] for row in select(settings, "select id from tracks order by id")] == [f"m{n}" for n in left]


def test_an_identity_that_stands_for_nobody_is_refused(settings: Settings, folder: Path) -> None:
    with pytest.raises(UsageError, match="stands for nobody"):
        forget(settings, ErasureOptions(folder / "spool", folder / "home"), Subject("NULL"))


def test_nobody_is_found_and_still_there_is_a_certificate(settings: Settings, folder: Path) -> None:
    (erasure,) = forget(settings, ErasureOptions(folder / "spool", folder / "home"), Subject("nobody"))
    assert not +erasure.counts
    with open_warehouse(settings) as warehouse:
        found = read_certificate(warehouse, erasure.erasure_id or 0)
        stamp = found.pop("seal")
        with warehouse.transaction():
            assert stamp == seal(warehouse, found)
    assert (found["status"], found["removed"], found["mode"]) == ("done", {}, "erase")
    assert "nobody" not in json.dumps(found["subject"])


def test_a_second_erasure_is_told_that_another_runs(settings: Settings, folder: Path) -> None:
    options = make_family(settings, folder)
    with open_warehouse(settings) as warehouse, only_erasure(warehouse), pytest.raises(BusyError):
        forget(settings, options, Subject("u2"))
    assert len(select(settings, "select * from tracks")) == 5


def test_an_erasure_waits_for_a_lock_and_is_repeated_to_the_end(
    settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = make_world(settings, folder)
    monkeypatch.setattr("loader.privacy.erase.LOCK_TIMEOUT", "300ms")
    tracks = content(settings)["tracks"]
    with psycopg.connect(settings.database_url or "") as analyst:
        analyst.execute("lock table selligent.email_opened in share mode")
        with pytest.raises(ContentionError):
            forget(settings, options)
        assert content(settings)["tracks"] == tracks
        assert one(settings, "select status from erasures") == {"status": "running"}
    (erasure,) = forget(settings, options)
    assert has_trace(dump(settings)) == []
    assert one(settings, "select status, erasure_id from erasures") == {
        "status": "done",
        "erasure_id": erasure.erasure_id,
    }
    with open_warehouse(settings) as warehouse:
        (found,) = list_erasures(warehouse, 9)
    assert int(found["removed"]["spool"]) > 0 and int(found["removed"]["tracks"]) == len(HERS)


@pytest.mark.slow
def test_a_load_beside_an_erasure_brings_nobody_back(settings: Settings, folder: Path) -> None:
    options = make_world(settings, folder)
    more = [mail(n, USER, 6) for n in range(100, 120)] + [mail(n, "u9", 6) for n in range(200, 220)]
    (folder / "more.jsonl").write_bytes(archive(more))

    def load_more() -> None:
        load_and_refresh(settings, [str(folder / "more.jsonl")], Options())

    with at("erase.scrubbed", load_more):
        forget(settings, options)
    assert has_trace(dump(settings)) == []
    assert one(settings, "select count(*)::int as n from tracks where user_id = 'u9'") == {"n": 20}
    found = figures(settings, VIEWS)
    refresh(settings, rebuild=True)
    assert figures(settings, VIEWS) == found


@pytest.mark.slow
def test_a_stream_beside_an_erasure_loses_nobody_else_and_keeps_nothing_of_the_person(
    settings: Settings, folder: Path
) -> None:
    options = make_world(settings, folder)
    sent, ending = [0], threading.Event()
    with serving(settings, options.spool, "--load-every", "1s", "--keep", "1h") as server:

        def send() -> None:
            while not ending.is_set():
                sent[0] += 1
                mine = mail(1000 + sent[0], "u9", 6)
                batch = [mine, mail(10_000 + sent[0], USER, 6, "Email Opened", **trait(ANNA))]
                assert server.post("batch", {"batch": batch}).status_code == 200

        sender = threading.Thread(target=send)
        sender.start()
        until(lambda: sent[0] > 20, 30)
        forget(settings, options)
        before = sent[0]
        until(lambda: sent[0] > before + 20, 30)
        ending.set()
        sender.join()
        query = "select count(*)::int as n from tracks where user_id = 'u9'"
        until(lambda: one(settings, query)["n"] >= sent[0], 60)
        until(lambda: not server.figure("spool_bytes"), 60)
    assert one(settings, query) == {"n": sent[0]}
    assert has_trace(dump(settings)) == []
    for text in texts(options.home):
        assert has_trace(text) == []


STEPS = (
    *("erase.suppressed", "erase.segment_written", "erase.segment", "erase.scrubbed", "erase.deleting"),
    *("erase.deleted", "views.refreshing", "views.refreshed"),
)


@pytest.mark.slow
def test_an_erasure_that_is_killed_at_any_step_is_repeated_to_the_end(settings: Settings, folder: Path) -> None:
    options = make_world(settings, folder)
    arguments = ["privacy", "erase", "--user-id", USER, "--yes", "--certificate", str(folder / "certificate.json")]

    def start(*prefix: str) -> int:
        variables = environment(settings, SELLIGENT_HOME=str(options.home))
        done = subprocess.run([sys.executable, *prefix, *arguments], env=variables, capture_output=True, check=False)
        return done.returncode

    for step in STEPS:
        assert start("-c", KILLED_AT, f"{step}:0") == -signal.SIGKILL, step
    assert start("-c", "from loader.cli.main import main; main()") == 0
    certificate = json.loads((folder / "certificate.json").read_text("utf-8"))
    assert (certificate["status"], certificate["removed"]["tracks"]) == ("done", len(HERS))
    assert has_trace(json.dumps(certificate).replace(str(folder), "")) == []
    assert has_trace(dump(settings)) == []
    for text in texts(options.home):
        assert has_trace(text) == []
    found = figures(settings, VIEWS)
    refresh(settings, rebuild=True)
    assert figures(settings, VIEWS) == found


@pytest.mark.slow
def test_a_refresh_by_others_after_the_deletion_computes_the_figures_again(settings: Settings, folder: Path) -> None:
    options = make_world(settings, folder)
    with pytest.raises(KeyboardInterrupt), at("erase.deleted", _interrupt):
        forget(settings, options)
    assert has_trace(dump(settings)) == []
    assert is_stale(settings)
    refresh(settings)
    found = figures(settings, VIEWS)
    refresh(settings, rebuild=True)
    assert figures(settings, VIEWS) == found


def _interrupt() -> None:
    raise KeyboardInterrupt


def test_subjects_in_a_file(run: Run, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(archive([mail(1, "u1"), mail(2, "u2"), mail(3, "u3", **trait(ANNA))]))
    load_and_refresh(settings, [str(tmp_path / "a.jsonl")], Options())
    (tmp_path / "bad.csv").write_text("email,user_id\n,u1\nno address,\n")
    ended = run("privacy", "erase", "--file", "bad.csv", "--yes", SELLIGENT_HOME=str(tmp_path))
    assert (ended.code, "line 3 of 'bad.csv'" in ended.err) == (1, True)
    assert len(select(settings, "select * from tracks")) == 3
    (tmp_path / "good.csv").write_text("Email,user_id\n,u1\n Anna@EXAMPLE.com,\n")
    ended = run("privacy", "erase", "--file", "good.csv", SELLIGENT_HOME=str(tmp_path))
    assert (ended.code, "--yes" in ended.err) == (2, True)
    ended = run("privacy", "erase", "--file", "good.csv", "--yes", "--json", SELLIGENT_HOME=str(tmp_path))
    assert [found["removed"]["tracks"] for found in json.loads(ended.out)["erasures"]] == [1, 1]
    assert [row["id"] for row in select(settings, "select id from tracks")] == ["m2"]
    listed = json.loads(run("privacy", "log", "--json").out)["erasures"]
    assert [row["status"] for row in listed] == ["done", "done"]


def test_the_commands_of_the_list(run: Run) -> None:
    assert run("privacy", "suppress", "add", "--email", "Anna@Example.com").out == "1 identities are suppressed now\n"
    assert run("privacy", "suppress", "add", "--email", ANNA, "--user-id", "u1").out.startswith("1 ")
    listed = json.loads(run("privacy", "suppress", "list", "--json").out)["suppressed"]
    assert len(listed) == 2 and all(len(row["subject"]) == 64 and row["reason"] == "requested" for row in listed)
    assert run("privacy", "suppress", "remove", "--user-id", "u1").out.startswith("1 ")
    assert run("privacy", "suppress", "add", "--email", "nonsense").code == 2
    assert run("privacy", "suppress", "add").code == 2
