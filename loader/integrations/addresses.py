"""Which URLs and addresses requests may go to, and connections to public addresses only."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import create_connection

from loader.errors import UsageError

#: Prefix of IPv6 addresses that a NAT64 gateway translates to IPv4 (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class HttpRules:
    """Which URLs are allowed besides https to public addresses."""

    allow_http: bool = False
    allow_private: bool = False


def check_url(url: str, rules: HttpRules) -> str:
    """Return a URL if requests may go there; an address in place of a name is checked, a name when it is resolved.

    Raises UsageError, without the URL, which may hold a secret.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not host or not url.isprintable() or " " in url or parts.scheme not in {"http", "https"}:
        raise UsageError("the url is invalid; write https://host/path")
    if parts.username is not None or parts.password is not None:
        raise UsageError("the url has a user or a password; give them as the secret, which is stored encrypted")
    if parts.scheme == "http" and not rules.allow_http:
        raise UsageError(
            f"the url of {host!r} is not encrypted; write https://, or add the integration with --allow-http"
        )
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return url
    if not rules.allow_private and not is_public(address):
        raise UsageError(f"{host!r} is a private address; use --allow-private to send there")
    return url


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address, and the IPv4 address inside it if there is one, is reachable by the internet.

    >>> texts = ("9.9.9.9", "10.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "::1", "::ffff:127.0.0.1")
    >>> [is_public(ipaddress.ip_address(text)) for text in (*texts, "64:ff9b::10.0.0.1", "2002:7f00:1::", "2620:fe::9")]
    [True, False, False, False, False, False, False, False, False, True]
    """
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside:
            return is_public(inside)
    return address.is_global and not address.is_multicast


class ForbiddenAddressError(Exception):
    """A name leads to an address that is not public."""


class _CheckedAddress:
    """Connects to the address that has been checked, so that a second lookup cannot lead elsewhere (DNS rebinding)."""

    def _new_conn(self: Any) -> socket.socket:
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise NewConnectionError(self, f"the name cannot be resolved: {exc.strerror}") from exc
        addresses = list(dict.fromkeys(str(place[4][0]) for place in found))
        for address in addresses:
            if not is_public(ipaddress.ip_address(address.partition("%")[0])):
                raise ForbiddenAddressError(
                    f"{self.host!r} has the private address {address}; use --allow-private to send there"
                )
        failure: OSError | None = None
        for address in addresses:
            try:
                return create_connection((address, self.port), self.timeout, socket_options=self.socket_options)
            except TimeoutError as exc:
                raise ConnectTimeoutError(self, "the connection timed out") from exc
            except OSError as exc:
                failure = exc
        raise NewConnectionError(self, str(failure)) from failure


class _PublicHTTPConnection(_CheckedAddress, HTTPConnection):
    pass


class _PublicHTTPSConnection(_CheckedAddress, HTTPSConnection):
    pass


class PublicHTTPPool(HTTPConnectionPool):
    """Connections to public addresses."""

    ConnectionCls = _PublicHTTPConnection


class PublicHTTPSPool(HTTPSConnectionPool):
    """Connections to public addresses, with TLS."""

    ConnectionCls = _PublicHTTPSConnection
