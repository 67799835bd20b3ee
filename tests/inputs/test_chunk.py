"""Chunks that are split: no text is lost, and reading can resume after each part."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from loader.inputs.chunk import Chunk
from loader.inputs.csv import CsvDialect
from loader.inputs.discovery import current_file
from loader.inputs.file import File
from loader.inputs.formats import read_contents

COUNT = 7
HEAD = "id,user_id,event,original_timestamp,received_at,campaign_name\n"


def texts(chunks: list[Chunk]) -> list[tuple[int, bytes]]:
    """Return the texts and the bytes of the malformed rows with their line numbers."""
    good = [(chunk.line(n), chunk.raw(n).strip()) for chunk in chunks for n in range(len(chunk.texts))]
    return sorted([*good, *((reject.line, reject.raw) for chunk in chunks for reject in chunk.rejects)])


def read(path: Path, position: int = 0, line: int = 1) -> list[Chunk]:
    os.utime(path, (0, 0))  # otherwise it may still be being written
    file = current_file(File(str(path)))
    return [chunk for chunk, _ in read_contents(file, position, line, 1 << 20, CsvDialect())]


def write(path: Path) -> None:
    """Write events in the format that the name has."""
    events = [
        {"id": f"m{n}", "user_id": "ü" * n, "event": "a", "sent_at": "2025-01-01T00:00:00Z"} for n in range(COUNT)
    ]
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(events), path)
    elif path.suffix == ".csv":
        rows = [f'm{n},"u\n{n}",a,2025-01-01T00:00:00Z,,{"é" * n}\n' for n in range(COUNT)]
        path.write_text(HEAD + "bad,1\n" + "".join(rows[:3]) + "bad,2\n\n" + "".join(rows[3:]) + "bad,3")
    elif path.suffix == ".json":
        path.write_text(json.dumps(events, indent=1, ensure_ascii=False))
    else:
        path.write_text("\ufeff" + "".join(json.dumps(event, ensure_ascii=False) + "\r\n\n" for event in events))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
@pytest.mark.parametrize("parts", [1, 2, 3, 100])
def test_a_split_chunk_has_the_same_texts_and_reading_resumes_after_each_part(
    tmp_path: Path, name: str, parts: int
) -> None:
    write(tmp_path / name)
    whole = read(tmp_path / name)
    split = [part for chunk in whole for part in chunk.split(parts)]
    assert texts(split) == texts(whole)
    assert len(split) >= min(parts, COUNT)
    for n, part in enumerate(split):
        assert texts(split[: n + 1]) + texts(read(tmp_path / name, part.end, part.next_line)) == texts(whole)
    assert b"".join(part.content() for part in split) == b"".join(chunk.content() for chunk in whole)
