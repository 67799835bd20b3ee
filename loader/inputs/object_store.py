"""List, open and write files on object stores and other systems with fsspec, which is imported on first use."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import IO, Any, cast
from urllib.parse import urlsplit

from loader.errors import InputError, UsageError
from loader.inputs.file import File

#: Attributes by which systems show a change of content, the most reliable first.
_MARKS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "modified", "created")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")
#: Systems whose files lie in folders that have to be made.
_WITH_FOLDERS = frozenset({"file", "local", "sftp", "ssh", "smb", "ftp", "hdfs"})
#: Bytes per request.
_BLOCK = 8 << 20


def list_files(url: str) -> list[tuple[str, File]]:
    """Return the files below a URL or matching a glob, each with its path below the URL.

    Raises InputError if they cannot be listed, UsageError if the URL cannot be used.
    """
    with _translate_errors(url):
        system, root = _system(url)
        if "*" in root or "?" in root or "[" in root:
            found = system.glob(root, detail=True)
            base = root.split("*")[0].split("?")[0].split("[")[0].rpartition("/")[0]
        else:
            found, base = system.find(root, detail=True), root
            if not found and not system.exists(root):
                raise FileNotFoundError("no such bucket, folder or file")
        return [
            (path.removeprefix(base).strip("/"), _file(system, path, about))
            for path, about in sorted(found.items())
            if about.get("type") != "directory" and not path.endswith("/")
        ]


def remote_file(url: str) -> File:
    """Return a file with its current size and fingerprint.

    Raises InputError if it cannot be read.
    """
    with _translate_errors(url):
        system, path = _system(url)
        return _file(system, path, system.info(path))


def open_remote(url: str) -> IO[bytes]:
    """Open a file as a stream. Blocks are fetched when needed and kept in memory only.

    Raises InputError if it cannot be opened.
    """
    with _translate_errors(url):
        system, path = _system(url)
        return cast(IO[bytes], io.BufferedReader(system.open(path, "rb", block_size=_BLOCK), 1 << 20))


def open_folder(url: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """Return a system and the path of a folder in it. `options` are those of the system's package in fsspec.

    Connects to nothing. Raises UsageError if the URL or the options cannot be used.
    """
    try:
        system, path = _system(url, options)
    except TypeError as exc:
        raise UsageError(f"the options of {url!r} are not those of its system: {exc}") from exc
    return system, path.rstrip("/")


def write_file(system: Any, path: str, content: bytes) -> None:
    """Write or replace a file as a whole: a reader never sees a part of it under its name.

    Object stores do so by themselves. Elsewhere the file gets its name when it is complete. Missing folders are
    created, missing buckets are not. Raises InputError if that fails.
    """
    with _translate_errors(path, "written"):
        protocols = {system.protocol} if isinstance(system.protocol, str) else set(system.protocol)
        if not protocols & _WITH_FOLDERS:
            system.pipe_file(path, content)
            return
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{path}.part", content)
        system.mv(f"{path}.part", path)


def remove_file(system: Any, path: str) -> None:
    """Remove a file. Raises InputError if that fails."""
    with _translate_errors(path, "removed"):
        system.rm_file(path)


def _system(url: str, options: Mapping[str, Any] = MappingProxyType({})) -> tuple[Any, str]:
    if urlsplit(url).password:
        raise UsageError("the ledger would store the password in the URL; give it to the system's own settings instead")
    try:
        import fsspec
        from fsspec.core import url_to_fs

        system, path = url_to_fs(url, **{"use_listings_cache": False, **options})
    except ImportError as exc:
        extra = "selligent-loader[s3]" if url.startswith("s3") else "fsspec and its package for that system"
        raise UsageError(f"{url!r} needs `pip install {extra}`") from exc
    except ValueError as exc:
        known = ", ".join(sorted(fsspec.available_protocols()))
        raise UsageError(f"{url!r} has an unknown protocol; use one of {known}") from exc
    return system, str(path)


def _file(system: Any, path: str, about: dict[str, Any]) -> File:
    known = {name: value.timestamp() if isinstance(value, datetime) else value for name, value in about.items()}
    mark = next((known[name] for name in _MARKS if known.get(name)), None)
    modified = next((known[name] for name in _TIMES if isinstance(known.get(name), int | float)), None)
    return File(system.unstrip_protocol(path), about.get("size"), str(mark).strip('"'), modified)


@contextmanager
def _translate_errors(url: str, action: str = "read") -> Iterator[None]:
    """Raise InputError for any error of a system, as packages of fsspec raise more than OSError."""
    try:
        yield
    except (InputError, UsageError):
        raise
    except Exception as exc:
        problem = " ".join(str(exc).split()) or type(exc).__name__
        raise InputError(
            f"{url!r} cannot be {action}: {problem}; check the URL and the system's access settings"
        ) from exc
