"""Recognize files of kinds that are not read, by their first bytes, and say what to do with them."""

import codecs

_UNPACK = "unpack it, and load the files in it"
_CONVERT = "convert it to JSON lines or CSV in UTF-8"
_DECOMPRESS = "decompress it, or compress it with gzip or zstd"
_EXPORT = "export its table as CSV in UTF-8, JSON lines or Parquet"

#: Kinds by their first bytes, and what to do.
_MAGIC = {
    b"BZh": ("compressed with bzip2", _DECOMPRESS),
    b"\xfd7zXZ": ("compressed with xz", _DECOMPRESS),
    b"\x04\x22\x4d\x18": ("compressed with lz4", _DECOMPRESS),
    b"\xff\x06\x00\x00sNaPpY": ("compressed with snappy", _DECOMPRESS),
    b"PK\x03\x04": ("a zip archive", _UNPACK),
    b"PK\x05\x06": ("an empty zip archive", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", _UNPACK),
    b"%PDF": ("a PDF document", _EXPORT),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Excel or Office file", _EXPORT),
    b"SQLite format 3\x00": ("a SQLite database", _EXPORT),
    b"Obj\x01": ("an Avro file", "convert it to JSON lines or Parquet"),
    b"ORC": ("an ORC file", "convert it to JSON lines or Parquet"),
    b"ARROW1": ("an Arrow file", "convert it to JSON lines or Parquet"),
    b"\x89PNG": ("a PNG image", _EXPORT),
    b"\xff\xd8\xff": ("a JPEG image", _EXPORT),
    b"GIF8": ("a GIF image", _EXPORT),
    b"<": ("HTML or XML", "perhaps a page with an error was saved instead of the file; " + _CONVERT),
}
#: What an Excel workbook has in its first kilobytes, and a tar archive at an offset.
_WORKBOOK, _TAR, _TAR_OFFSET = b"[Content_Types].xml", b"ustar", 257
#: Encodings by byte-order mark; the longer marks first.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
#: Encodings without a mark, by which of the first four bytes are zero if the text is ASCII.
_ZEROS = {"0111": "utf-32-le", "1110": "utf-32-be", "0101": "utf-16-le", "1010": "utf-16-be"}


def describe_unsupported(start: bytes) -> str | None:
    """Return what a file with these first bytes is, and what to do; None if it may be read.

    >>> describe_unsupported(b"%PDF-1.7")
    'is a PDF document; export its table as CSV in UTF-8, JSON lines or Parquet'
    >>> describe_unsupported(b'{"type":"track"}')
    """
    if start[_TAR_OFFSET:].startswith(_TAR):
        return f"is a tar archive; {_UNPACK}"
    if start.startswith(b"PK") and _WORKBOOK in start:
        return f"is an Excel workbook or another Office document; {_EXPORT}"
    text = start.lstrip()
    found = next((known for magic, known in _MAGIC.items() if start.startswith(magic)), None)
    if not found and text.startswith(b"<"):
        found = _MAGIC[b"<"]
    return f"is {found[0]}; {found[1]}" if found else None


def wide_encoding(start: bytes) -> str | None:
    """Return the encoding of text in UTF-16 or UTF-32, with or without a byte-order mark; None for any other.

    >>> [wide_encoding('{"a"'.encode(name)) for name in ("utf-16", "utf-16-be", "utf-32-le", "utf-8")]
    ['utf-16-le', 'utf-16-be', 'utf-32-le', None]
    """
    marked = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    return marked or _ZEROS.get("".join(str(int(byte == 0)) for byte in start[:4]))
