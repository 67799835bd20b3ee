"""Post a message to a webhook in the JSON format of Slack and Teams. The URL is a secret and never logged."""

import json
import logging
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from loader.errors import UsageError

log = logging.getLogger(__name__)

#: Total seconds to send a message.
TIMEOUT_SECONDS = 10.0
#: Characters of a message; longer ones are cut.
MAX_MESSAGE_LENGTH = 2000


def check_url(url: str) -> str:
    """Return the URL if it is valid.

    Raises UsageError, with a message that does not contain the URL, if it is not.
    """
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        is_good = False
    if not is_good or " " in url:
        raise UsageError("the webhook's url is invalid; write https://host/path, preferably in SELLIGENT_NOTIFY_URL")
    return url


def post(url: str, text: str) -> bool:
    """Post a message and return whether the webhook accepted it; a failure is logged.

    Returns after TIMEOUT_SECONDS at the latest, also if the DNS lookup or a proxy takes longer.
    """
    answers: list[str] = []
    thread = Thread(target=lambda: answers.append(_post(url, text)), daemon=True)
    thread.start()
    thread.join(TIMEOUT_SECONDS)
    problem = answers[0] if answers else f"did not answer within {TIMEOUT_SECONDS:.0f} s"
    if problem:
        log.warning("the webhook at %s %s; the notification was not delivered", urlsplit(url).hostname, problem)
    return not problem


def _post(url: str, text: str) -> str:
    """Post a message and return an error without the URL, or an empty string."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class NoRedirect(HTTPRedirectHandler):
        """Treats a redirect as an error, because it may lead to a login page."""

        def redirect_request(self, *_: Any) -> None:
            return None

    body = json.dumps({"text": _escaped(text[:MAX_MESSAGE_LENGTH])}).encode()
    request = Request(url, body, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
    try:
        with build_opener(NoRedirect).open(request, timeout=TIMEOUT_SECONDS):
            return ""
    except HTTPError as exc:
        return f"answered with status {exc.code}"
    except URLError as exc:
        reason = exc.reason
        return f"cannot be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"
    except (OSError, HTTPException, ValueError) as exc:
        return f"cannot be reached: {type(exc).__name__}"


def _escaped(text: str) -> str:
    """Escape a text so that Slack finds no links or mentions in it.

    >>> _escaped("<!channel> & co")
    '&lt;!channel&gt; &amp; co'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
