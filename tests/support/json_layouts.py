"""Write JSON values in the layouts that files have."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

MARK = b"\xef\xbb\xbf"
BLANKS = st.text(" \t\r\n", max_size=3).map(str.encode)

#: Text that looks like the structure of JSON.
TRICKY = st.text(st.sampled_from('{}[],:"\\\n\x1eéb '), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TRICKY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TRICKY, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TRICKY, VALUES, max_size=4)


def texts(values: Sequence[Any]) -> st.SearchStrategy[list[bytes]]:
    """Return a strategy for the texts of values, each with its own indentation."""
    indents = st.lists(st.sampled_from([None, 0, 1, 2, "\t"]), min_size=len(values), max_size=len(values))
    return indents.map(
        lambda chosen: [
            json.dumps(value, indent=indent, ensure_ascii=False).encode()
            for value, indent in zip(values, chosen, strict=True)
        ]
    )


@st.composite
def layouts(draw: st.DrawFn, values: Sequence[Any]) -> bytes:
    """Return the bytes of a file with these objects: one a line, in an array, a sequence, or one after the other."""
    parts = draw(texts(values))
    kind = draw(st.sampled_from(["lines", "array", "sequence", "concatenated", "pretty"]))
    blanks = [draw(BLANKS) for _ in range(2)]
    start = draw(st.sampled_from([b"", MARK])) + blanks[0]
    match kind:
        case "lines":
            end = draw(st.sampled_from([b"\n", b"\r\n", b"\n\n"]))
            return start + b"".join(json.dumps(value).encode() + end for value in values)
        case "array":
            comma = blanks[1] + b"," + draw(BLANKS)
            return start + b"[" + draw(BLANKS) + comma.join(parts) + blanks[1] + b"]" + draw(BLANKS)
        case "sequence":
            return start + b"".join(b"\x1e" + part + b"\n" for part in parts)
        case "concatenated":
            return start + blanks[1].join(parts)
        case _:
            return start + b"".join(json.dumps(value, indent=2).encode() + b"\n" for value in values)
