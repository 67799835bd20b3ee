"""Client libraries of Segment and RudderStack: events sent with their batching, retries and gzip are stored once."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loader.config import Settings
from tests.support.endpoint import Server, free_port, new_key, serving, wait_for
from tests.support.loading import one, select
from tests.support.segment_clients import RUDDER_NODE, RUDDER_PYTHON, MissingError, node_client, python_client

EVENTS = 5_000

PYTHON_SENDER = """
import sys
from datetime import datetime, timedelta, timezone
import segment.analytics as analytics

host, key, count, compressed = sys.argv[1:]
analytics.write_key, analytics.host, analytics.gzip = key, host, compressed == "gzip"
analytics.max_retries = 50
failed = []
analytics.on_error = lambda error, items: failed.append(str(error))
begin = datetime(2025, 1, 1, tzinfo=timezone.utc)
for n in range(int(count)):
    name = ["Email Opened", "Email Link Clicked"][n % 2]
    properties = {"campaign_id": str(n % 7), "campaign_name": "Grüße \\U0001f600 \\u2028", "n": n}
    context = {"ip": "10.0.0.1", "traits": {"email": f"{n}@example.com"}}
    moment = begin + timedelta(seconds=n)
    analytics.track(f"u{n}", name, properties, context=context, timestamp=moment, message_id=f"m{n}")
    if n % 1000 == 0:
        analytics.identify(f"u{n}", {"name": "x"})
analytics.shutdown()
sys.exit("; ".join(failed) or 0)
"""
NODE_SENDER = """
const { Analytics } = require('@segment/analytics-node')
const [host, writeKey, count] = process.argv.slice(1)
const analytics = new Analytics({ writeKey, host, maxEventsInBatch: 100, maxRetries: 50 })
analytics.on('error', (error) => { console.error(error); process.exitCode = 1 })
for (let n = 0; n < Number(count); n++) {
  analytics.track({
    userId: `u${n}`, messageId: `m${n}`, event: ['Email Opened', 'Email Link Clicked'][n % 2],
    timestamp: new Date(Date.UTC(2025, 0, 1) + n * 1000),
    properties: { campaign_id: String(n % 7), campaign_name: 'Gr\\u00fc\\u00dfe \\u{1f600} \\u2028', n },
    context: { ip: '10.0.0.1', traits: { email: `${n}@example.com` } }
  })
  if (n % 1000 === 0) analytics.identify({ userId: `u${n}`, traits: { name: 'x' } })
}
analytics.closeAndFlush({ timeout: 60000 })
"""

RUDDER_PYTHON_SENDER = """
import sys
import rudderstack.analytics as analytics
analytics.dataPlaneUrl, analytics.write_key, analytics.gzip = sys.argv[1], sys.argv[2], sys.argv[3] == "gzip"
for n in range(500):
    analytics.track(f"u{n}", "Email Opened", {"n": n}, message_id=f"m{n}")
analytics.shutdown()
"""
# It sends gzip with the content type of a form.
RUDDER_NODE_SENDER = """
const Analytics = require('@rudderstack/rudder-sdk-node')
const [dataPlaneUrl, writeKey, compressed] = process.argv.slice(1)
const analytics = new Analytics(writeKey, { dataPlaneUrl, flushAt: 50, gzip: compressed === 'gzip' })
for (let n = 0; n < 500; n++) {
  analytics.track({ userId: `u${n}`, messageId: `m${n}`, event: 'Email Opened', properties: { n } })
}
analytics.flush((error) => {
  if (error) { console.error(error); process.exitCode = 1 }
  setTimeout(() => process.exit(), 2000)
})
"""

EXPECTED = """
    select 'm' || n as id, 'u' || n as user_id, n % 7 || '' as campaign_id, 'Grüße \U0001f600 \u2028' as campaign_name,
        n::bigint, n || '@example.com' as context_traits_email, '10.0.0.1' as context_ip,
        timestamptz '2025-01-01 00:00:00Z' + make_interval(secs => n) as original_timestamp
    from generate_series(0, %s) as n where n % 2 = %s
"""
FOUND = """
    select id, user_id, campaign_id, campaign_name, n::bigint, context_traits_email, context_ip, original_timestamp
    from {table}
"""


@pytest.fixture
def place(settings: Settings, tmp_path: Path) -> Iterator[tuple[str, str, int]]:
    yield str(tmp_path / "spool"), new_key(settings), free_port()


def check(settings: Settings) -> None:
    """Check that exactly these rows are stored."""
    assert len(wait_for(settings, EVENTS, 120)) == EVENTS
    for number, table in enumerate(("email_opened", "email_link_clicked")):
        expected = EXPECTED.replace("% 7", "%% 7").replace("% 2", "%% 2")
        both = f"(({expected}) except all ({FOUND.format(table=table)}))"
        assert select(settings, both, EVENTS - 1, number) == []
        assert one(settings, f"select count(*) from {table}") == {"count": EVENTS // 2}
    # Client and server share a clock, so times differ at most by the duration of the test.
    assert (
        select(settings, "select from tracks where abs(extract(epoch from timestamp - original_timestamp)) > 300") == []
    )
    assert one(settings, "select count(*) from rejected_events") == {"count": 0}


@pytest.mark.slow
@pytest.mark.parametrize("compressed", ["gzip", "plain"])
def test_the_client_for_python(settings: Settings, place: tuple[str, str, int], compressed: str) -> None:
    spool, key, port = place
    try:
        program = python_client()
    except MissingError as exc:
        pytest.skip(str(exc))
    command = [str(program), "-c", PYTHON_SENDER, f"http://127.0.0.1:{port}", key, str(EVENTS), compressed]
    send_through_a_crash(settings, Path(spool), key, port, command, None)
    check(settings)


@pytest.mark.slow
def test_the_client_for_node(settings: Settings, place: tuple[str, str, int]) -> None:
    spool, key, port = place
    try:
        folder = node_client()
    except MissingError as exc:
        pytest.skip(str(exc))
    command = ["node", "-e", NODE_SENDER, "--", f"http://127.0.0.1:{port}", key, str(EVENTS)]
    send_through_a_crash(settings, Path(spool), key, port, command, folder)
    check(settings)


@pytest.mark.slow
@pytest.mark.parametrize("compressed", ["gzip", "plain"])
@pytest.mark.parametrize("language", ["python", "node"])
def test_the_clients_of_rudderstack(
    settings: Settings, place: tuple[str, str, int], language: str, compressed: str
) -> None:
    spool, key, port = place
    try:
        if language == "python":
            folder, command = None, [str(python_client(RUDDER_PYTHON)), "-c", RUDDER_PYTHON_SENDER]
        else:
            folder, command = node_client(RUDDER_NODE), ["node", "-e", RUDDER_NODE_SENDER, "--"]
    except MissingError as exc:
        pytest.skip(str(exc))
    with serving(settings, Path(spool), "--load-every", "1s", key=key, port=port) as server:
        sent = [*command, server.url, key, compressed]
        done = subprocess.run(sent, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert len(wait_for(settings, 500)) == 500
        rejected = one(settings, "select count(*) from rejected_events")
    assert (rejected, b"without a valid" in server.log) == ({"count": 0}, False)


def send_through_a_crash(
    settings: Settings, spool: Path, key: str, port: int, command: list[str], folder: Path | None
) -> None:
    """Send events while the server is killed and started again; the client retries by itself."""
    options = ["--load-every", "1s"]
    server = Server(settings, spool, *options, key=key, port=port)
    sender = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(0.7)
        server.kill()
        time.sleep(0.5)
        server = Server(settings, spool, *options, key=key, port=port)
        _, told = sender.communicate(timeout=120)
        assert sender.returncode == 0, told
        wait_for(settings, EVENTS, 60)
    finally:
        sender.kill()
        server.kill()
