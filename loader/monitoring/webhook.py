"""Webhook: a message to people, in the JSON that Slack's and Teams' webhooks take; its URL is a secret."""

import json
import logging
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from loader.errors import UsageError

log = logging.getLogger(__name__)

#: Seconds that a message may take in all.
TIMEOUT_SECONDS = 10.0
#: Longest message, in characters.
MAX_MESSAGE_LENGTH = 2000


def check_url(url: str) -> str:
    """Return a URL that can be posted to.

    Raises UsageError, without the URL, for another.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        is_good = False
    if not is_good or " " in url:
        raise UsageError("the webhook's url cannot be read; write https://host/path, best in SELLIGENT_NOTIFY_URL")
    return url


def post(url: str, text: str) -> bool:
    """Post a message, and tell whether it was taken; why it was not is told in the log.

    Returns after TIMEOUT seconds at the latest, whatever the name server, a proxy or the webhook do.
    """
    answers: list[str] = []
    thread = Thread(target=lambda: answers.append(_post(url, text)), daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    problem = answers[0] if answers else f"gives no answer within {TIMEOUT_SECONDS:.0f} s"
    if problem:
        log.warning("the webhook at %s %s; a person is not told", urlsplit(url).hostname, problem)
    return not problem


def _post(url: str, text: str) -> str:
    """Post a message and return what is wrong, without the URL; empty if nothing is."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirect(HTTPRedirectHandler):
        """A message that was led elsewhere, to a page to log in perhaps, was not taken."""

        def redirect_request(self, *_: Any) -> None:
            return None

    body = json.dumps({"text": _escaped(text[:MAX_MESSAGE_LENGTH])}).encode()
    request = Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
    try:
        with build_opener(NoRedirect).open(request, timeout=TIMEOUT_SECONDS):
            return ""
    except HTTPError as exc:
        return f"answers {exc.code}"
    except URLError as exc:
        reason = exc.reason
        return f"cannot be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"
    except (OSError, HTTPException, ValueError) as exc:
        return f"cannot be reached: {type(exc).__name__}"


def _escaped(text: str) -> str:
    """Return a text in which nothing is a link or a mention for Slack.

    >>> _escaped("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
