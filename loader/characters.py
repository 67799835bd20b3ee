"""Characters that JSON can spell and PostgreSQL cannot store."""

import re

#: An escape in a JSON string; group 1 is one that PostgreSQL cannot store: U+0000 or half of a surrogate pair.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2}))|\\."
)


def repair(text: str) -> tuple[str, int]:
    r"""Return JSON text without the characters PostgreSQL cannot store, and their number.

    >>> repair(r'"\u0000 \\u0000 \ud83d\ude00 \ud83d"')
    ('"\\ufffd \\\\u0000 \\ud83d\\ude00 \\ufffd"', 2)
    """
    count = 0

    def replacement(match: re.Match[str]) -> str:
        nonlocal count
        count += match[1] is not None
        return "\\ufffd" if match[1] else match[0]

    return _ESCAPE.sub(replacement, text), count
