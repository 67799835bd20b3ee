"""Notifications: failures, recoveries and new columns are each reported once."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader.config import Settings
from loader.monitoring.incidents import describe
from loader.monitoring.webhook import post
from tests.support.command_line import AWAY, COMMAND, Run, environment, run_command, started
from tests.support.loading import event, ndjson, one, select
from tests.support.waiting import until

#: The part of the URL that makes it a secret.
TOKEN = "T0p-Secret"


class Webhook(ThreadingHTTPServer):
    """A webhook that stores the messages it accepts, with configurable status and delay."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.texts: list[str] = []
        self.status, self.delay = 200, 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{TOKEN}"


class Answer(BaseHTTPRequestHandler):
    server: Webhook
    has_begun = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert (self.headers["Content-Type"], list(body)) == ("application/json", ["text"])
        deadline = time.monotonic() + self.server.delay
        while time.monotonic() < deadline:  # sends headers slowly, so that no single read of the client times out
            self.wfile.write(b"HTTP/1.0 200 OK\r\nX-Wait: 1\r\n" if not self.has_begun else b"X-Wait: 1\r\n")
            self.has_begun = True
            time.sleep(0.05)
        if self.server.status == 200:
            self.server.texts.append(body["text"])
        self.send_response(self.server.status)
        self.send_header("Location", "/login")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def run(settings: Settings, webhook: Webhook, tmp_path: Path) -> Run:
    """Run a command with the webhook's URL in the environment and a separate home folder."""
    home = tmp_path / "home"
    return partial(run_command, settings, tmp_path, SELLIGENT_NOTIFY_URL=webhook.url, SELLIGENT_HOME=str(home))


def good(run: Run, name: str = "m1", **fields: object) -> int:
    return run("load", "-", stdin=ndjson([event(messageId=name, **fields)])).code


def bad(run: Run) -> int:
    return run("load", "missing").code


def away(run: Run) -> int:
    """Run a load with a database that cannot be reached, and return its exit code."""
    return run("load", "-", "--database-url", AWAY, stdin=b"").code


def heads(webhook: Webhook) -> list[str]:
    """Return and clear the kinds of the messages sent: failed, loads again, new."""
    kinds = ("failed: ", "loads again", "new ")
    sent = [next(kind for kind in kinds if kind in text) for text in webhook.texts]
    webhook.texts.clear()
    return [kind.strip(": ") for kind in sent]


def test_an_incident_is_told_at_its_first_failure_and_at_recovery(run: Run, webhook: Webhook) -> None:
    assert (good(run), heads(webhook)) == (0, [])
    assert (bad(run), len(webhook.texts)) == (1, 1)
    assert webhook.texts[0].startswith("selligent-loader, schema selligent, ")
    assert webhook.texts[0].endswith("failed: 'missing' does not exist; check the path")
    webhook.texts.clear()
    assert (bad(run), bad(run), heads(webhook)) == (1, 1, [])
    assert run("load", "-", stdin=b'{"n":5}\n').code == 3
    assert heads(webhook) == []
    assert good(run) == 0
    assert "loads again; it had failed since 20" in webhook.texts[0]
    assert heads(webhook) == ["loads again"]
    assert (good(run), heads(webhook)) == (0, [])
    assert run("load", "-", stdin=b'{"n":6}\n').code == 3
    assert webhook.texts[0].endswith("1 events are rejected; see `selligent-loader rejects list`")


def test_the_ledger_knows_the_incident_on_any_machine(run: Run, settings: Settings, webhook: Webhook) -> None:
    assert (bad(run), heads(webhook)) == (1, ["failed"])
    elsewhere = partial(run, SELLIGENT_HOME="elsewhere")
    assert (bad(elsewhere), heads(webhook)) == (1, [])
    assert (good(elsewhere), heads(webhook)) == (0, ["loads again"])
    assert (good(run), heads(webhook)) == (0, [])
    assert one(settings, "select count(*) from incidents where ended_at is not null") == {"count": 1}
    assert (bad(elsewhere), heads(webhook)) == (1, ["failed"])
    # The first machine learns about the recovery and the new failure from the database.
    assert (bad(run), heads(webhook)) == (1, [])


def test_while_the_database_is_away_the_home_knows_the_incident(run: Run, webhook: Webhook) -> None:
    assert (away(run), heads(webhook)) == (1, ["failed"])
    assert (away(run), heads(webhook)) == (1, [])
    # The user and password do not identify the database.
    other = partial(run, "load", "-", "--database-url", AWAY.replace("ada:", "bob:other"))
    assert (other().code, heads(webhook)) == (1, [])


@pytest.fixture
def outage(settings: Settings) -> Callable[[bool], None]:
    """Return a function that refuses or allows connections to the database."""
    assert settings.database_url
    server = make_conninfo(settings.database_url, dbname="postgres")
    name = sql.Identifier(str(conninfo_to_dict(settings.database_url)["dbname"]))

    def change(is_away: bool) -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            allowed = sql.Literal(not is_away)
            connection.execute(sql.SQL("alter database {} allow_connections {}").format(name, allowed))

    return change


def test_an_outage_is_one_incident_whenever_it_begins(
    run: Run, settings: Settings, webhook: Webhook, outage: Callable[[bool], None]
) -> None:
    sent = []
    for is_away, load in [
        (True, bad),
        (True, bad),
        (False, bad),
        (True, bad),
        (False, good),
        (True, bad),
        (False, good),
    ]:
        outage(is_away)
        load(run)
        sent.append(heads(webhook))
    assert sent == [["failed"], [], [], [], ["loads again"], ["failed"], ["loads again"]]
    assert one(settings, "select count(*) from incidents where ended_at is not null") == {"count": 2}


def test_a_message_that_is_not_taken_is_told_the_next_time(run: Run, webhook: Webhook) -> None:
    for status in (500, 404, 302):
        webhook.status = status
        ended = run("load", "missing")
        problem = f"the webhook at 127.0.0.1 answered with status {status}; the notification was not delivered"
        assert (ended.code, problem in ended.err) == (1, True)
        assert TOKEN not in ended.out + ended.err
    webhook.status = 200
    assert (bad(run), heads(webhook)) == (1, ["failed"])
    webhook.status = 503
    assert good(run) == 0
    webhook.status = 200
    assert (good(run), heads(webhook)) == (0, ["loads again"])


def test_a_webhook_that_is_down_fails_no_load_and_stays_secret(run: Run, settings: Settings) -> None:
    for url in (f"http://127.0.0.1:1/{TOKEN}", f"http://no.invalid/{TOKEN}", f"https://127.0.0.1:1/{TOKEN}"):
        ended = run("load", "missing", "--verbose", "--notify", url)
        assert (ended.code, "cannot be reached" in ended.err) == (1, True)
        assert TOKEN not in ended.out + ended.err
    assert run("load", "-", "--notify", f"http://127.0.0.1:1/{TOKEN}", stdin=ndjson([event()])).code == 0
    assert select(settings, "select * from incidents") == []


def test_a_slow_webhook_is_not_waited_for(webhook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.monitoring.webhook.TIMEOUT_SECONDS", 0.3)
    webhook.delay = 3
    begun = time.monotonic()
    assert not post(webhook.url, "text")
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "url", [TOKEN, f"ftp://x.example/{TOKEN}", f"https:///{TOKEN}", f"http://[{TOKEN}/", "https://x y"]
)
def test_a_url_that_is_none_is_a_usage_error_without_it(run: Run, url: str) -> None:
    ended = run("load", "-", SELLIGENT_NOTIFY_URL=url, stdin=b"")
    assert (ended.code, "error: the webhook's url is invalid" in ended.err, TOKEN in ended.err) == (2, True, False)


def test_new_tables_and_columns_are_told_once(run: Run, webhook: Webhook) -> None:
    assert good(run, "m1", properties={"score": 1, "place": "x"}) == 0
    assert webhook.texts[0].endswith(": new columns email_opened.place, email_opened.score")
    webhook.texts.clear()
    assert (good(run, "m2", properties={"score": 2}), heads(webhook)) == (0, [])
    webhook.status = 500
    assert good(run, "m3", event="Order Completed", properties={"total": 2}) == 0
    webhook.status = 200
    assert good(run, "m4") == 0  # the next load reports what the webhook did not accept
    assert "new table order_completed (14 columns)" in webhook.texts[0]
    webhook.texts.clear()
    assert (good(run, "m5"), heads(webhook)) == (0, [])


def test_many_new_columns_are_not_all_named() -> None:
    message = describe([("t", f"c{n}", False) for n in range(25)])
    assert message.endswith("t.c19 and 5 more")


def test_a_load_that_was_killed_is_told_by_the_next(
    run: Run, settings: Settings, webhook: Webhook, tmp_path: Path
) -> None:
    with started(settings, tmp_path, "load", "-") as process:
        until(lambda: select(settings, "select from files"))
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: not select(settings, "select from pg_locks where locktype = 'advisory'"))
    assert good(run) == 0
    assert "was killed" in webhook.texts[0]
    assert heads(webhook) == ["failed", "loads again"]


def test_an_interrupted_load_is_told(run: Run, settings: Settings, webhook: Webhook, tmp_path: Path) -> None:
    with waiting_load(settings, webhook, tmp_path) as process:
        until(lambda: select(settings, "select from files"))
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert webhook.texts[0].endswith("failed: interrupted")


@contextmanager
def waiting_load(settings: Settings, webhook: Webhook, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a load that waits for standard input, with the webhook configured."""
    with subprocess.Popen(
        [COMMAND, "load", "-"],
        cwd=folder,
        env=environment(settings, SELLIGENT_NOTIFY_URL=webhook.url, SELLIGENT_HOME=str(folder / "home")),
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_dry_run_tells_nobody(run: Run, settings: Settings, webhook: Webhook) -> None:
    assert run("load", "missing", "--dry-run").code == 1
    assert (heads(webhook), select(settings, "select from announced_columns")) == ([], [])


def test_what_is_told_is_nothing_a_webhook_would_follow(webhook: Webhook) -> None:
    assert post(webhook.url, "<!channel> & <http://x.example>")
    assert webhook.texts == ["&lt;!channel&gt; &amp; &lt;http://x.example&gt;"]
