"""Turn a pandas data frame into an input that the ledger identifies by a hash of its content."""

import hashlib
import json
from typing import Any

import pandas as pd
import pyarrow as pa

from loader.inputs.file import File


def frame_file(frame: pd.DataFrame) -> File:
    """Return a data frame as a `File`. The same rows and columns give the same URI."""
    columns = [_column(frame.iloc[:, n]) for n in range(frame.shape[1])]
    table = pa.table(columns, [str(name) for name in frame.columns])
    digest = hashlib.blake2b(digest_size=16)
    with pa.ipc.new_stream(pa.PythonFile(_Sink(digest), mode="w"), table.schema) as stream:
        stream.write_table(table, max_chunksize=50_000)
    return File(f"frame:{digest.hexdigest()}", table.nbytes, digest.hexdigest(), table=table)


class _Sink:
    """A file object that passes all data to a hash."""

    closed = False

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: Any) -> int:
        self._digest.update(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def _column(values: "pd.Series[Any]") -> pa.Array | pa.ChunkedArray:
    """Return a column as Arrow. Values of mixed types become text; those that are not text, as JSON."""
    try:
        return pa.Array.from_pandas(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return None
    return json.dumps(value, default=str)
