"""Where requests may go: https to public addresses, unless more is allowed."""

import socket
from typing import Any

import pytest

from loader.errors import UsageError
from loader.integrations.addresses import HttpRules, check_url
from loader.integrations.http import HttpClient, Request
from loader.integrations.outcomes import TryLater
from tests.support.targets import Target, target

#: Names and addresses of this machine and of private networks, in the spellings that parsers accept.
PRIVATE = (
    *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),
    *("[::1]", "[::]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
)


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="--allow-private"):
        check_url(f"https://{host}/", HttpRules())
    assert check_url(f"https://{host}/", HttpRules(allow_private=True))


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001"])
def test_a_name_that_leads_to_this_machine_is_refused_when_it_is_resolved(host: str) -> None:
    with pytest.raises(TryLater, match="private address") as raised:
        HttpClient(HttpRules()).send(Request(f"https://{host}/", b""))
    assert raised.value.reason == "forbidden_address"


@pytest.mark.parametrize(
    "url", ["ftp://example.com", "https://?", "example.com", "https://a b.c", "https://[::1", "https://a:99999/", ""]
)
def test_an_invalid_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        check_url(url, HttpRules(allow_http=True, allow_private=True))
    assert not url or url not in str(raised.value)


def test_http_and_passwords_in_urls_are_refused() -> None:
    with pytest.raises(UsageError, match="--allow-http"):
        check_url("http://example.com/?secret=1", HttpRules())
    with pytest.raises(UsageError, match="password") as raised:
        check_url("https://user:hidden@example.com/", HttpRules())
    assert "hidden" not in str(raised.value)


def addresses(*found: str) -> Any:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in found]


def test_the_address_that_was_checked_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that answers with a public address first and a private one later (DNS rebinding) wins nothing."""
    looked_up: list[str] = []
    answers = iter([addresses("192.0.2.1"), addresses("8.8.8.8"), addresses("127.0.0.1")])
    connected: list[str] = []

    def resolve(host: str, *_: Any, **__: Any) -> Any:
        looked_up.append(host)
        return next(answers)

    def connect(place: tuple[str, int], *_: Any, **__: Any) -> Any:
        connected.append(place[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr("loader.integrations.addresses.create_connection", connect)
    client = HttpClient(HttpRules())
    for reason in ("forbidden_address", "network", "forbidden_address"):  # 192.0.2.0/24 is for documentation only
        with pytest.raises(TryLater) as raised:
            client.send(Request("https://rebinding.example/", b""))
        assert raised.value.reason == reason
    assert looked_up == ["rebinding.example"] * 3
    assert connected == ["8.8.8.8"]


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses("8.8.8.8", "10.0.0.1"))
    with pytest.raises(TryLater, match=r"10\.0\.0\.1"):
        HttpClient(HttpRules()).send(Request("https://mixed.example/", b""))


@pytest.fixture
def place() -> Any:
    with target() as opened:
        yield opened


def test_with_permission_this_machine_can_be_reached_by_name(place: Target) -> None:
    url = place.url.replace("127.0.0.1", "localhost")
    client = HttpClient(HttpRules(allow_http=True, allow_private=True))
    assert client.send(Request(f"{url}/a", b"x")).status == 200
    assert place.requests[0].headers["host"].startswith("localhost:")
