"""Listing: which files the paths of a command mean, as they are now."""

import glob
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loader.archive import Days, holds_events
from loader.errors import InputError
from loader.files import STANDARD_INPUT, File, local_file
from loader.remote import list_files, remote_file


def discover(paths: Sequence[str], days: Days = Days()) -> tuple[list[File], list[InputError]]:  # noqa: B008
    """Return the files that paths, folders, globs and URLs mean, once each and in order, and what is wrong with others.

    What lies in a folder and holds no events is left out, and so is what was not received on these days.
    """
    found: dict[str, File] = {}
    errors: list[InputError] = []
    for path in paths:
        try:
            found.update((file.uri, file) for file in _expand(path) if days.have(file.uri))
        except InputError as exc:
            errors.append(exc)
    return list(found.values()), errors


def is_changed(file: File) -> bool:
    """Tell whether a file is not what it was when it was listed.

    Raises InputError or OSError if it is gone.
    """
    return (now := as_it_is(file)).size != file.size or now.fingerprint != file.fingerprint


def as_it_is(file: File) -> File:
    """Return a file as it is now; a pipe and a table in memory do not change.

    Raises InputError or OSError if it is gone.
    """
    if file.size is None or file.table is not None:
        return file
    return remote_file(file.uri) if file.is_remote else replace(local_file(Path(file.uri)), uri=file.uri)


def _expand(path: str) -> list[File]:
    if path == STANDARD_INPUT:
        return [File(path)]
    if "://" in path:
        found, problem = list_files(path), "holds no files"
        if [below for below, _ in found] == [""]:
            return [file for _, file in found]
    elif Path(path).is_dir():
        found = [(p.relative_to(path).as_posix(), local_file(p)) for p in sorted(Path(path).rglob("*")) if p.is_file()]
        problem = "holds no files"
    elif Path(path).exists():
        return [local_file(Path(path))]
    else:
        matching = (Path(p) for p in sorted(glob.glob(path, recursive=True)))  # noqa: PTH207
        found = [(p.name, local_file(p)) for p in matching if p.is_file()]
        problem = "matches no files" if glob.has_magic(path) else "does not exist"
    if not found:
        raise InputError(f"{path!r} {problem}; check the path")
    return [file for below, file in found if holds_events(below, file.size)]
