"""The HTTP client of integrations: https only, no private addresses, no redirects to another host, with timeouts.

`urllib3` serves best of the libraries that are in use: it lets us connect to the address that we have checked while TLS
still verifies the name, it reads an answer in pieces, and it is what `requests` and `boto3` rely on.
"""

import base64
import email.utils
import gzip
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError

from loader.errors import UsageError
from loader.integrations.addresses import ForbiddenAddressError, HttpRules, PublicHTTPPool, PublicHTTPSPool, check_url
from loader.integrations.outcomes import TryLater
from loader.version import __version__

#: Seconds to connect, to wait for each piece of an answer, and for a whole answer.
CONNECT_SECONDS, READ_SECONDS, ANSWER_SECONDS = 10.0, 30.0, 60.0
#: Bytes of an answer that are read, and characters of it that are kept.
MAX_ANSWER_BYTES, MAX_ANSWER_TEXT = 1 << 20, 2000
#: Redirects to the same host that are followed. Only 307 and 308 keep the method and the body.
MAX_REDIRECTS, SAME_METHOD = 3, frozenset({307, 308})
#: Seconds above which a `Retry-After` is cut: a target that asks for more is asked again after that time.
MAX_RETRY_AFTER_SECONDS = 3600.0
MASK = "********"


@dataclass(frozen=True, slots=True)
class Request:
    """A request, by POST unless `method` says otherwise. Headers can contain secrets and are not represented."""

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content_type: str = "application/json"
    #: Whether the body is sent compressed by gzip.
    is_compressed: bool = False
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request: status, headers by lower-case name, body, and its text without secrets."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    text: str

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def retry_after(self) -> float | None:
        """Seconds that the header `Retry-After` asks to wait, as a number or a date; None without a valid one."""
        return read_retry_after(self.headers.get("retry-after", ""), datetime.now(UTC))


class HttpClient:
    """Sends requests over kept connections. For one thread. `secrets` are masked in all texts that it returns."""

    def __init__(self, rules: HttpRules, secrets: tuple[str, ...] = ()) -> None:
        self._rules = rules
        self._secrets = spellings(secrets)
        self._direct = urllib3.PoolManager(num_pools=4, retries=False)
        if not rules.allow_private:
            self._direct.pool_classes_by_scheme = {"http": PublicHTTPPool, "https": PublicHTTPSPool}
        self._proxies: dict[str, urllib3.ProxyManager] = {}

    def close(self) -> None:
        """Close all connections."""
        for manager in (self._direct, *self._proxies.values()):
            manager.clear()

    def mask(self, text: str) -> str:
        """Return a text without the secrets of the client."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text

    def send(self, request: Request) -> Answer:
        """Send a request and return the answer, whatever its status.

        Follows redirects within the same scheme, host and port that keep the method. Raises TryLater if the target
        cannot be reached, does not answer in time, or has an address that is not allowed.
        """
        url = request.url
        for _ in range(MAX_REDIRECTS):
            answer = self._send(url, request)
            target = urljoin(url, answer.headers.get("location", url))
            if answer.status not in SAME_METHOD or _origin(target) != _origin(url):
                return answer
            url = target
        return answer

    def _send(self, url: str, request: Request) -> Answer:
        headers = {
            "User-Agent": f"selligent-loader/{__version__}",
            "Content-Type": request.content_type,
            **request.headers,
            **({"Content-Encoding": "gzip"} if request.is_compressed else {}),
        }
        deadline = time.monotonic() + ANSWER_SECONDS
        try:
            check_url(url, self._rules)
            response = self._manager(url).request(
                request.method,
                url,
                body=gzip.compress(request.body, 6, mtime=0) if request.is_compressed else request.body,
                headers=headers,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            )
            body = _read(response, deadline)
        except ForbiddenAddressError as exc:
            raise TryLater("forbidden_address", self.mask(str(exc))) from None
        except UsageError as exc:
            raise TryLater("forbidden_url", self.mask(str(exc))) from None
        except (HTTPError, OSError, ValueError) as exc:
            raise TryLater("network", self.mask(f"{urlsplit(url).hostname}: {describe_failure(exc)}")) from None
        text = self.mask(body.decode("utf-8", "replace"))[:MAX_ANSWER_TEXT]
        return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, body, text)

    def _manager(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxy = find_proxy(parts.scheme, parts.netloc.rpartition("@")[2])
        if proxy is None:
            return self._direct
        if proxy not in self._proxies:
            found = urlsplit(proxy)
            login = f"{found.username}:{found.password or ''}" if found.username else None
            headers = urllib3.make_headers(proxy_basic_auth=login)
            place = found._replace(netloc=found.netloc.rpartition("@")[2]).geturl()
            self._proxies[proxy] = urllib3.ProxyManager(place, proxy_headers=headers, retries=False)
        return self._proxies[proxy]


def spellings(secrets: Iterable[str]) -> list[str]:
    """Return what to mask, longest first: each secret, its parts, and both as in a URL and in Basic authentication.

    >>> spellings(["user:p@ss"])
    ['dXNlcjpwQHNz', 'user:p%40ss', 'user:p@ss', 'p%40ss', 'p@ss', 'user']
    """
    found: set[str] = set()
    for secret in secrets:
        for part in {secret, *re.split(r"[\s:]+", secret)}:
            basic = base64.b64encode((part if ":" in part else f"{part}:").encode()).decode()
            found |= {part, quote(part, safe=":"), basic if part == secret else part}
    return sorted({text for text in found if len(text) >= 4}, key=lambda text: (-len(text), text))


def find_proxy(scheme: str, netloc: str) -> str | None:
    """Return the URL of the proxy for a scheme and host, of `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`."""
    if proxy_bypass(netloc):
        return None
    found = getproxies_environment().get(scheme)
    return found if not found or "://" in found else f"http://{found}"


def read_retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks to wait (RFC 9110, 10.2.3), at most an hour.

    >>> now = datetime(2025, 1, 1, tzinfo=UTC)
    >>> [read_retry_after(text, now) for text in ("120", "Wed, 01 Jan 2025 00:00:30 GMT", "soon", "1e99", "-1")]
    [120.0, 30.0, None, None, None]
    """
    if value.strip().isdecimal() and value.isascii():
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def describe_failure(exc: BaseException) -> str:
    """Return why a connection failed in a few words, without the URL that the library's message has."""
    while isinstance(inner := exc.__cause__ or getattr(exc, "reason", None), BaseException):
        exc = inner
    return getattr(exc, "strerror", None) or getattr(exc, "verify_message", None) or type(exc).__name__


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _read(response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
    """Return the first MAX_ANSWER_BYTES of an answer; the connection is kept only if it has been read to its end.

    Raises TimeoutError if it is not complete in time.
    """
    pieces, size = [], 0
    # `read1` returns what one packet has, so a target that sends byte by byte is noticed.
    while piece := response.read1(1 << 16, decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > MAX_ANSWER_BYTES or time.monotonic() > deadline:
            response.close()
            if size <= MAX_ANSWER_BYTES:
                raise TimeoutError
            break
    response.release_conn()
    return b"".join(pieces)[:MAX_ANSWER_BYTES]
