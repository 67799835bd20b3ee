"""Identities of people: addresses in one spelling, and what may be an identity in text of any format."""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

#: Blanks of Unicode, as in `sql/functions/trim_blanks.sql`.
BLANKS = (
    "\t\n\x0b\x0c\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u200b\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
#: Characters from which a word may be an identity wherever it stands. A shorter one has to be named as an id.
MIN_WORD = 5

_PLAIN = re.compile(r"[!-~]+@[!-?A-~]+")
_DOMAIN = re.compile(r"[!-?A-~]+")
#: Of an address in running text: quotes, brackets and the like end it.
_ADDRESS = re.compile(r"""[^\s"'<>()\[\]{}\\,;:|@&=?/]+@[^\s"'<>()\[\]{}\\,;:|@&=?/%]+""")
#: A name like userId, and a value behind it.
_NAMED = re.compile(
    r"""(?:user|anonymous)[_ ]?id["']?\s*[:=]\s*(?:"([^"]*)"|'([^']*)'|([^\s"',;&}\]]+))""", re.IGNORECASE
)
_QUOTED = re.compile(r'"([^"]*)"')
_WORD = re.compile(rf"[^\s\"'<>()\[\]{{}}\\,;:|&=?/]{{{MIN_WORD},}}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def trim(text: str) -> str:
    """Return a text without blanks at its ends, those of Unicode included.

    >>> trim("\u00a0Ann \u200b")
    'Ann'
    """
    return text.strip(BLANKS)


def normalize_address(sent: str | None) -> str | None:
    """Return an e-mail address in one spelling, as `sql/functions/normalize_address.sql`; None for other text.

    >>> normalize_address(" Ann+News@BÜCHER.example\u00a0"), normalize_address("ann"), normalize_address(None)
    ('ann+news@xn--bcher-kva.example', None, None)
    """
    if sent is None:
        return None
    if _PLAIN.fullmatch(sent):
        return sent.lower()
    mailbox, at, domain = trim(sent).rpartition("@")
    mailbox = _lower(unicodedata.normalize("NFC", mailbox))
    domain = _lower(unicodedata.normalize("NFKC", domain.replace("İ", "i\u0307"))).replace("。", ".")
    if not (mailbox and at and domain) or any(letter in BLANKS or letter.isspace() for letter in mailbox):
        return None
    domain = ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode()}" for label in domain.split(".")
    )
    return f"{mailbox}@{domain}" if _DOMAIN.fullmatch(domain) else None


def _lower(text: str) -> str:
    """Return a text in lower case, letter by letter, as PostgreSQL: the rule for a sigma at the end does not apply."""
    return "".join(letter.lower()[0] for letter in text)


def name_person(user_id: str | None, *others: str | None) -> set[str]:
    """Return the names of an event's person, as the views compare them: of its user id, anonymous id and addresses.

    A user id is taken as it is, and for an address if it is one; others are addresses, or compared in lower case.

    >>> sorted(name_person("Ann@x.example", " Visitor-9 ", None))
    ['Ann@x.example', 'ann@x.example', 'visitor-9']
    """
    names = {user_id, normalize_address(user_id)}
    names.update(normalize_address(sent) or trim(sent).lower() for sent in others if sent)
    return {name for name in names if name}


def find_identities(raw: bytes) -> set[str]:
    """Return what may be identities in bytes of any format: JSON, CSV, form data, complete or not.

    These are addresses, in one spelling, also those that are URL-encoded or have escapes of JSON; values behind a name
    like `userId`; and words and quoted texts of at least MIN_WORD characters.

    >>> {"42", "ann@x.example"} <= find_identities(b'{"userId":"42","email":"Ann%40x.example"')
    True
    """
    found: set[str] = set()
    for text in _spellings(raw):
        found.update(filter(None, map(normalize_address, _ADDRESS.findall(text))))
        found.update(value for values in _NAMED.findall(text) for value in values if value)
        found.update(quoted for quoted in _QUOTED.findall(text) if len(quoted) >= MIN_WORD)
        found.update(_WORD.findall(text))
    return found


def _spellings(raw: bytes) -> Iterator[str]:
    """Yield the text of bytes, as it is, with escapes of JSON resolved, and URL-decoded once and twice."""
    text = raw.decode("utf-8", "replace").replace("\0", "")
    yield text
    if b"\\" in raw:
        text = (
            _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text.replace("\\\\u", "\\u"))
            .replace("\\/", "/")
            .replace('\\"', '"')
        )
        yield text
    for _ in range(2):
        if "%" not in text:
            return
        text = unquote_to_bytes(text.replace("+", "%2B")).decode("utf-8", "replace")
        yield text
