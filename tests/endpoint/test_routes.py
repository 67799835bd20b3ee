"""Responses of the endpoint, and that accepted events are stored."""

import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from loader.config import Settings
from loader.endpoint.write_keys import create_key, import_key, list_keys, revoke_key
from loader.migrate import migrate
from loader.pipeline.options import Options
from loader.schema.source import open_warehouse
from tests.conftest import clone
from tests.support.endpoint import Server, new_key, serving, stored, wait_for
from tests.support.loading import event, load, load_bytes, one, select
from tests.support.waiting import until
from tests.system.test_crash import INSTALLED

EVENT = {"event": "Email Opened", "userId": "1"}
PACKED = gzip.compress(b'{"batch":[]}', mtime=0)  # deterministic, because pytest derives test ids from it


@pytest.fixture
def endpoint(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    with serving(settings, tmp_path / "spool", "--load-every", "1s") as running:
        yield running


def test_events_are_in_the_warehouse_a_moment_later(endpoint: Server) -> None:
    assert endpoint.post("track", {**EVENT, "messageId": "a"}).json() == {"success": True}
    assert endpoint.post("batch", {"batch": [event(messageId="b"), event(messageId="c")]}).status_code == 200
    assert endpoint.post("import", {"batch": [event(messageId="d"), event(messageId="d")]}).status_code == 200
    for kind in ("identify", "page", "screen", "group", "alias"):
        assert endpoint.post(kind, {"userId": "1"}).status_code == 200
    assert wait_for(endpoint.settings, 4) == ["a", "b", "c", "d"]
    until(lambda: endpoint.figure("spool_bytes") == 0, 20)
    sums = (
        "select sum(events_read)::int as read, sum(events_duplicate)::int as twice, sum(events_ignored)::int as others"
    )
    assert one(endpoint.settings, f"{sums} from loads") == {"read": 10, "twice": 1, "others": 5}
    assert endpoint.figure('events_total{call="track"') == 1
    assert endpoint.figure('requests_total{status="200"}') == 8


def test_what_cannot_be_stored_is_kept_as_a_reject(endpoint: Server) -> None:
    assert endpoint.post("track", {"userId": "1"}).status_code == 200
    assert endpoint.post("track", {"event": "Email Opened"}).status_code == 200
    reasons = "select array_agg(reason order by reason) as reasons from rejected_events"
    until(lambda: one(endpoint.settings, reasons)["reasons"] == ["no_event", "no_identity"], 20)


def test_the_key_comes_by_basic_authentication_or_in_the_body(endpoint: Server) -> None:
    with httpx.Client(base_url=endpoint.url) as anonymous:
        for kind, body in (("track", EVENT), ("batch", {"batch": [EVENT]})):
            path = f"/v1/{kind}"
            assert anonymous.post(path, json={**body, "writeKey": endpoint.key}).status_code == 200
            assert anonymous.post(path, json=body, auth=(endpoint.key, "")).status_code == 200
            refused = anonymous.post(path, json=body)
            assert (refused.status_code, refused.json()["success"]) == (401, False)
            assert refused.headers["www-authenticate"].startswith("Basic")
            for wrong in ("", "x", endpoint.key[:-1], endpoint.key + "=", "é"):
                assert anonymous.post(path, json={**body, "writeKey": wrong}).status_code == 401
                assert anonymous.post(path, json=body, auth=(wrong, "")).status_code == 401
            for header in ("", "Basic", "Basic !!", "Basic //79", f"Bearer {endpoint.key}", f"Basic {endpoint.key}"):
                headers = {"Authorization": header}
                assert anonymous.post(path, json=body, headers=headers).status_code == 401
                with_key = {**body, "writeKey": endpoint.key}
                assert anonymous.post(path, json=with_key, headers=headers).status_code == 200
            assert anonymous.post(path, json={**body, "writeKey": endpoint.key}, auth=("proxy", "x")).status_code == 200
        beacon = f"/beacon/v1/batch?writeKey={endpoint.key}"
        assert anonymous.post(beacon, content=json.dumps({"batch": [EVENT]})).status_code == 200
        assert anonymous.post(f"{beacon}x", content=json.dumps({"batch": [EVENT]})).status_code == 401
    assert len(wait_for(endpoint.settings, 19)) == 19
    until(lambda: endpoint.figure("spool_bytes") == 0, 20)
    assert endpoint.key.encode() not in endpoint.log
    assert not any(endpoint.key.encode() in gzip.decompress(p.read_bytes()) for p in endpoint.spool.rglob("*.gz"))


@pytest.mark.parametrize(
    ("kind", "body", "headers", "status", "reason"),
    [
        ("track", b"{", {}, 400, "not JSON"),
        ("track", b'{"event":"\xff"}', {}, 400, "UTF-8"),
        ("track", b'{"a":' + b"[" * 30_000, {}, 400, "nested too deeply"),
        ("track", b" " * 40_000, {}, 400, "larger than 32 KB"),
        ("batch", b" " * 600_000, {}, 400, "larger than 500 KB"),
        ("batch", gzip.compress(b" " * 100_000_000, mtime=0), {"Content-Encoding": "gzip"}, 400, "larger than 500 KB"),
        ("batch", b"no gzip", {"Content-Encoding": "gzip"}, 400, "not gzip"),
        ("batch", PACKED[:-4], {"Content-Encoding": "gzip"}, 400, "one complete gzip stream"),
        ("batch", PACKED * 2, {"Content-Encoding": "gzip"}, 400, "one complete gzip stream"),
        ("batch", b"{}", {"Content-Encoding": "br"}, 415, "must be identity or gzip"),
        ("batch", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 400, "not JSON"),
        ("bitch", b"{}", {}, 404, "Not Found"),
        ("track//", b"{}", {}, 404, "Not Found"),
    ],
)
def test_what_is_refused_is_told_why(
    shared: Server, kind: str, body: bytes, headers: dict[str, str], status: int, reason: str
) -> None:
    answer = shared.post(kind, body, headers={"Content-Type": "application/json", **headers})
    assert (answer.status_code, answer.json()["success"]) == (status, False)
    assert reason in answer.json()["error"]


@pytest.fixture(scope="module")
def shared(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that change only its spool."""
    folder = tmp_path_factory.mktemp("shared") / "spool"
    with clone(server, template) as settings, serving(settings, folder, "--no-load") as running:
        yield running


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json;charset=UTF-8"},
        {"Content-Type": "application/json; charset=latin1"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
    ],
)
def test_json_is_taken_as_clients_send_it(shared: Server, how: dict[str, str]) -> None:
    body = json.dumps({"batch": [EVENT]}).encode()
    assert shared.post("batch", body, headers=how).status_code == 200
    assert shared.post("batch", gzip.compress(body), headers={**how, "Content-Encoding": "gzip"}).status_code == 200
    assert shared.post("batch", gzip.compress(body), headers=how).status_code == 200
    assert shared.post("batch", b"\xef\xbb\xbf" + body, headers=how).status_code == 200
    pieces = (body[at : at + 7] for at in range(0, len(body), 7))
    assert shared.client.post("/v1/batch", content=pieces, headers=how).status_code == 200


#: The paths to which the clients in `docs/endpoint.md` send, and the call that each stands for.
CLIENT_PATHS = {
    "/v1/track": "track",
    "/v1/t": "track",
    "/v1/identify": "identify",
    "/v1/i": "identify",
    "/v1/page": "page",
    "/v1/p": "page",
    "/v1/screen": "screen",
    "/v1/s": "screen",
    "/v1/group": "group",
    "/v1/g": "group",
    "/v1/alias": "alias",
    "/v1/a": "alias",
    "/v1/batch": "batch",
    "/v1/b": "batch",
    "/v1/import": "import",
    "/beacon/v1/batch": "batch",
}


def test_every_path_of_a_client_is_taken_with_and_without_a_slash(shared: Server) -> None:
    for path, kind in CLIENT_PATHS.items():
        for slash in ("", "/"):
            counter = f'events_total{{call="{kind}"'
            before = shared.figure(counter)
            body = {"batch": [EVENT]} if kind in ("batch", "import") else EVENT
            assert shared.client.post(path + slash, json=body).json() == {"success": True}
            assert shared.figure(counter) == before + 1, path
            assert shared.client.get(path + slash).status_code == 405
            assert shared.client.options(path + slash).status_code == 405


def test_what_clients_count_about_themselves_is_dropped(shared: Server) -> None:
    before = shared.figure("spool_bytes")
    with httpx.Client(base_url=shared.url) as anonymous:
        for path in ("/v1/m", "/v1/m/"):
            headers = {"Content-Type": "text/plain"}
            answer = anonymous.post(path, content=b'{"series":[]}' * 1000, headers=headers)
            assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert shared.figure("spool_bytes") == before


def test_a_browser_may_send_from_the_origins_of_a_key(settings: Settings, tmp_path: Path) -> None:
    other = Settings(settings.database_url, "other")
    migrate(other)
    site, stranger = "https://www.example.com", "https://example.com"
    with open_warehouse(settings) as warehouse:
        key = create_key(warehouse, "site", [site, "http://localhost:3000"])
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    allow = "access-control-allow-origin"
    with serving(settings, tmp_path, "--schema", "other", "--no-load", key=key) as server:
        foreign = new_key(other)
        until(lambda: server.post("t", EVENT, auth=(foreign, "")).status_code == 200, 15)
        for path in ("/v1/t", "/v1/batch/", "/beacon/v1/batch"):
            answer = server.client.options(path, headers={"Origin": site, **asked})
            assert (answer.status_code, answer.headers[allow]) == (200, site)
            assert answer.headers["access-control-allow-methods"] == "POST"
            assert answer.headers["access-control-allow-headers"] == "authorization,content-type"
            assert answer.headers["vary"] == "origin"
            refused = server.client.options(path, headers={"Origin": stranger, **asked})
            assert (refused.status_code, allow in refused.headers) == (405, False)
            assert server.client.options(path, headers={"Origin": site}).status_code == 405
        for origin, header in ((site, site), ("http://localhost:3000", "http://localhost:3000"), (stranger, None)):
            answer = server.post("t", EVENT, headers={"Origin": origin})
            assert (answer.status_code, answer.headers.get(allow)) == (200, header)
            assert server.client.post("/v1/m", json={}, headers={"Origin": origin}).headers.get(allow) == header
            assert server.post("t", b"{", headers={"Origin": origin}).headers.get(allow) == header
        # The source of this key allows no origin.
        assert allow not in server.post("t", EVENT, auth=(foreign, ""), headers={"Origin": site}).headers


def test_one_events_fault_costs_one_event(endpoint: Server) -> None:
    large = {"type": "track", "event": "Email Opened", "userId": "1", "properties": {"a": "x" * 40_000}}
    faults = [None, 5, "text", [1], {}, {"userId": "1"}, large]
    batch = [event(messageId="a"), *faults, event(messageId="b")]
    answer = endpoint.post("batch", {"batch": batch})
    assert (answer.status_code, answer.json()) == (200, {"success": True, "rejected": 7})
    assert endpoint.post("batch", {"batch": faults[:1]}).json() == {"success": True, "rejected": 1}
    assert wait_for(endpoint.settings, 2) == ["a", "b"]
    count = "select count(*)::int as count from rejected_events"
    until(lambda: one(endpoint.settings, count)["count"] == 8, 20)
    found = select(endpoint.settings, "select convert_from(raw, 'UTF8') as raw, reason, detail from rejected_events")
    assert [(json.loads(row["raw"]), row["reason"]) for row in found][:7] == [
        *((fault, "not_object") for fault in faults[:4]),
        ({}, "no_type"),
        ({"userId": "1"}, "no_type"),
        (large, "too_large"),
    ]
    assert found[6]["detail"].endswith(" bytes")


def test_a_repeated_name_is_a_discarded_value_as_from_a_file(endpoint: Server, tmp_path: Path) -> None:
    body = (
        b'{"event":"Email Opened","userId":"1","messageId":"a","event":"Other","userId":"2","properties":{"x":1,"x":2}}'
    )
    assert endpoint.post("track", body).status_code == 200
    wait_for(endpoint.settings, 1)
    discarded = "select property, value, reason from discarded_values order by property"
    until(lambda: len(select(endpoint.settings, discarded)) == 3, 20)
    assert [tuple(row.values()) for row in select(endpoint.settings, discarded)] == [
        ("event", '"Other"', "repeated_key"),
        ("userId", '"2"', "repeated_key"),
        ("x", "2", "repeated_key"),
    ]
    assert one(endpoint.settings, "select user_id, event_text, x from email_opened") == {
        "user_id": "1",
        "event_text": "Email Opened",
        "x": 1,
    }
    at = b',"receivedAt":"2025-01-01T00:00:00Z","type":"track"}'
    load_bytes(endpoint.settings, body[:-1].replace(b'"a"', b'"b"') + at, tmp_path)
    assert len(select(endpoint.settings, discarded)) == 6


def test_the_events_of_a_key_of_two_sources_go_to_both(settings: Settings, tmp_path: Path) -> None:
    other = Settings(settings.database_url, "other")
    migrate(other)
    key = new_key(settings)
    with open_warehouse(other) as warehouse:
        import_key(warehouse, key, "also", is_shared=True)
    with serving(settings, tmp_path, "--schema", "other", "--load-every", "1s", key=key) as server:
        agent = {"User-Agent": "analytics-java/3.5.1 (jane@example.com)"}
        assert server.post("batch", {"batch": [event(messageId="a")]}, headers=agent).status_code == 200
        assert (wait_for(settings, 1), wait_for(other, 1)) == (["a"], ["a"])
        with open_warehouse(other) as warehouse:
            until(lambda: list_keys(warehouse)[0]["last_client"] == "analytics-java/3.5.1", 15)


@pytest.mark.parametrize(
    ("options", "count"), [(["--host", "0.0.0.0"], 1), (["--host", "127.0.0.1"], 0), (["--host", "localhost"], 0)]
)
def test_an_address_that_others_reach_without_tls_is_warned_of_once(
    settings: Settings, tmp_path: Path, options: list[str], count: int
) -> None:
    with serving(settings, tmp_path, "--no-load", *options) as server:
        assert server.post("track", EVENT).status_code == 200
        assert server.stop() == 0
        assert server.log.count(b"unencrypted; use --tls-cert and --tls-key") == count


def test_other_methods_are_refused(shared: Server) -> None:
    answer = shared.client.get("/v1/track")
    assert (answer.status_code, answer.json()["success"], answer.headers["allow"]) == (405, False, "POST")


def test_health_and_readiness_need_no_key(shared: Server) -> None:
    with httpx.Client(base_url=shared.url) as anonymous:
        assert anonymous.get("/healthz").json() == {"status": "alive"}
        assert anonymous.get("/readyz").json() == {"status": "ready"}
        assert "selligent_stream_load_lag_seconds" in anonymous.get("/metrics").text


def test_a_revoked_key_is_refused_within_ten_seconds_and_a_new_one_taken(endpoint: Server) -> None:
    with open_warehouse(endpoint.settings) as warehouse:
        import_key(warehouse, "the-key-of-a-project", "imported")
        until(lambda: endpoint.post("track", EVENT, auth=("the-key-of-a-project", "")).status_code == 200, 10)
        revoke_key(warehouse, 1)
        until(lambda: endpoint.post("track", EVENT).status_code == 401, 10)
        assert endpoint.post("track", EVENT, auth=("the-key-of-a-project", "")).status_code == 200
        until(lambda: all(key["last_used_at"] for key in list_keys(warehouse)), 10)


def test_the_key_decides_about_the_source(settings: Settings, tmp_path: Path) -> None:
    other = Settings(settings.database_url, "other")
    migrate(other)
    key = new_key(other)
    with serving(settings, tmp_path, "--schema", "other", "--load-every", "1s") as server:
        server.post("track", {**EVENT, "messageId": "here"})
        server.post("track", {**EVENT, "messageId": "there"}, auth=(key, ""))
        assert (wait_for(settings, 1), wait_for(other, 1)) == (["here"], ["there"])


def test_too_many_events_at_once_are_asked_to_come_later(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--rate", "10", "--no-load") as server:
        assert server.post("batch", {"batch": [EVENT] * 115}).status_code == 200
        refused = server.post("track", EVENT)
        assert (refused.status_code, refused.json()["error"]) == (429, "too many events at once")
        wait = int(refused.headers["retry-after"])
        assert 1 <= wait <= 3
        assert server.post("track", EVENT, auth=(new_key(settings), "")).status_code in (200, 401)
        time.sleep(wait)
        assert server.post("track", EVENT).status_code == 200


def test_a_full_spool_is_told_and_emptied_by_the_next_load(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--spool-limit", "0.02MB", "--load-every", "5s") as server:
        ids: list[str] = []
        while (answer := server.post("track", event(messageId=f"m{len(ids):04}"))).status_code == 200:
            ids.append(f"m{len(ids):04}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert len(ids) > 20
        assert wait_for(settings, len(ids)) == ids
        until(lambda: server.post("track", EVENT).status_code == 200, 20)


def test_a_full_disk_is_told_and_what_was_answered_is_loaded(settings: Settings, disk: Path) -> None:
    with serving(settings, disk, "--load-every", "4s", "--keep", "0s") as server:
        ids: list[str] = []
        while True:
            name = f"m{len(ids):04}"
            answer = server.post("track", event(messageId=name, properties={"body": os.urandom(10_000).hex()}))
            if answer.status_code != 200:
                break
            ids.append(name)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert len(ids) > 20
        wait_for(settings, len(ids))
        until(lambda: server.post("track", event(messageId="after")).status_code == 200, 30)
        assert {*ids, "after"} <= set(wait_for(settings, len(ids) + 1))


def test_a_server_that_is_stopped_answers_what_it_has_begun_with(settings: Settings, tmp_path: Path) -> None:
    body = json.dumps({**EVENT, "messageId": "slow"}).encode()
    with serving(settings, tmp_path / "spool", "--load-every", "1h") as server:
        head = f"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        credentials = httpx.BasicAuth(server.key, "")._auth_header
        with socket.create_connection(("127.0.0.1", server.port)) as slow:
            slow.sendall(f"{head}Authorization: {credentials}\r\n\r\n".encode() + body[:10])
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert server.process.poll() is None
            slow.sendall(body[10:])
            assert slow.recv(1000).startswith(b"HTTP/1.1 200")
        assert server.process.wait(20) == 0
    load(settings, [str(tmp_path / "spool")], Options())
    assert stored(settings) == ["slow"]


@pytest.mark.slow
def test_who_takes_no_answers_does_not_keep_a_server_from_stopping(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--no-load") as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # one packet per request
        deaf.connect(("127.0.0.1", server.port))
        for _ in range(200):  # 6 MB of responses; the server may send 4 MB that are not read, and waits 20 s for more
            deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            # It closes a connection with two requests at once: once another client has the same response, the first is
            # answered.
            server.client.get("/openapi.json")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(3)
        assert server.process.poll() is None  # it waits until the client has read the responses
        assert server.process.wait(50) == 0


def test_a_second_server_on_one_spool_ends_with_4(endpoint: Server) -> None:
    place = ["--spool", str(endpoint.spool), "--database-url", str(endpoint.settings.database_url)]
    done = subprocess.run([*INSTALLED, "serve", *place], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 4
    assert "another server writes to the spool" in done.stderr


def test_a_port_that_is_taken_is_told(endpoint: Server, tmp_path: Path) -> None:
    place = ["--port", str(endpoint.port), "--spool", str(tmp_path / "other")]
    url = ["--database-url", str(endpoint.settings.database_url)]
    done = subprocess.run([*INSTALLED, "serve", *place, *url], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, "choose another --host or --port" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tls-cert", "x.pem"], "must be given together"),
        (["--tls-cert", "x.pem", "--tls-key", "y.pem"], "cannot be used: No such file"),
        (["--tls-cert", __file__, "--tls-key", __file__], "cannot be used: [SSL]"),
        (["--spool-limit", "5"], "is not a size"),
        (["--load-every", "0s"], "at least 1s"),
        (["--schema", "nowhere"], "is not prepared"),
    ],
)
def test_options_that_make_no_sense_are_told(
    settings: Settings, tmp_path: Path, options: list[str], message: str
) -> None:
    place = ["--spool", str(tmp_path / "spool"), "--database-url", str(settings.database_url)]
    done = subprocess.run(
        [*INSTALLED, "serve", *place, *options], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def certificate(folder: Path) -> list[str]:
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost"
    made = subprocess.run([*request.split(), "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, capture_output=True)
    if made.returncode:
        pytest.skip("openssl is needed to make a certificate")
    return ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]


def test_events_come_by_tls(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path / "spool", "--no-load", *certificate(tmp_path)) as server:
        trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        trusting.check_hostname = False
        with httpx.Client(base_url=server.url, verify=trusting) as client:
            assert client.post("/v1/track", json=EVENT, auth=(server.key, "")).status_code == 200


@pytest.mark.parametrize(("options", "address"), [([], "127.0.0.1"), (["--trusted-proxy", "127.0.0.0/8"], "10.9.8.7")])
def test_only_a_trusted_proxy_says_who_the_client_is(
    settings: Settings, tmp_path: Path, options: list[str], address: str
) -> None:
    with serving(settings, tmp_path, "--no-load", *options) as server:
        for _ in range(3):
            server.post("track", EVENT, auth=("wrong", ""), headers={"X-Forwarded-For": "10.9.8.7"})
        assert server.stop() == 0
        assert f"3 requests without a valid write key from '{address}'" in server.log.decode()


def test_segments_are_kept_and_then_removed(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--load-every", "1s", "--keep", "20s") as server:
        server.post("track", EVENT)
        kept = tmp_path / "selligent" / ".loaded"
        until(lambda: len(list(kept.iterdir())) == 1, 30)
        until(lambda: not list(kept.iterdir()), 60)
    assert len(stored(settings)) == 1


def test_events_wait_where_nothing_is_loaded(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--load-every", "1s", "--no-load", "--keep", "0s") as server:
        server.post("track", EVENT)
        until(lambda: list((tmp_path / "selligent").glob("*.gz")), 20)
        time.sleep(2.5)
        assert server.figure("spool_bytes") > 0
        load(settings, [str(tmp_path / "selligent")], Options())
        until(lambda: server.figure("spool_bytes") == 0, 20)


def test_figures_of_the_lag_grow_while_events_wait(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path, "--no-load") as server:
        assert server.figure("load_lag_seconds") == 0
        server.post("track", EVENT)
        time.sleep(1)
        assert 0.9 < server.figure("load_lag_seconds") < 20
        assert select(settings, "select from loads") == []
