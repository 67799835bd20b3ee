"""Lines of segments are changed without moving others."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from loader.spool.rewrite import fill, rewrite_segment

LINES = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=8)


@hypothesis_settings(max_examples=60)
@given(LINES, st.sampled_from([".jsonl", ".jsonl.gz"]), st.binary(max_size=3))
def test_only_chosen_lines_change_and_every_position_stays(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], suffix: str, rest: bytes
) -> None:
    path = tmp_path_factory.mktemp("segment") / f"000000000001-00000000{suffix}"
    content = b"".join(line + b"\n" for line in lines) + rest.replace(b"\n", b"")
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    path.chmod(0o600)
    before = path.stat()
    rewrite_segment(path, lambda line: None if len(line) % 3 == 1 else line[::-1])
    raw = path.read_bytes()
    found = gzip.decompress(raw) if suffix.endswith("gz") else raw
    expected = [fill(len(line)) if len(line) % 3 == 1 else line[::-1] for line in lines]
    assert found == b"".join(line + b"\n" for line in expected) + rest.replace(b"\n", b"")
    assert (path.stat().st_mtime_ns, path.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
    assert list(path.parent.iterdir()) == [path]


def test_a_dry_run_and_a_removed_segment_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "000000000001-00000000.jsonl"
    path.write_bytes(b"a\nb\n")
    rewrite_segment(path, lambda _: None, is_dry=True)
    assert path.read_bytes() == b"a\nb\n"
    rewrite_segment(tmp_path / "000000000002-00000000.jsonl", lambda _: None)
