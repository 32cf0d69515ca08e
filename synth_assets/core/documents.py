"""Reads Curator's outputs: each row of a file comes out as a document or as a row that is refused by name.

In: finding the files, the formats (JSON lines, gzipped JSON lines, Parquet), and what is wrong with a file.
Out: what makes a row a document (`curator_row`), whether it is worth rephrasing (`suitability`), duplicates,
and which files are new. Everything streams: memory holds one line or one small batch of rows.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import SynthError
from synth_assets.core.curator_row import (
    CURATOR_COLUMNS,
    CuratorDocument,
    UnreadableRow,
    document_id,
    make_document,
)

__all__ = [
    "CuratorDocument",
    "CuratorFileError",
    "CuratorFolderError",
    "UnreadableRow",
    "content_fingerprint",
    "document_id",
    "list_curator_files",
    "read_curator_file",
]

CURATOR_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")

MAX_LINE_BYTES = 64 * 2**20
"""A longer line is refused unread: MediaWiki's own limit for a page is 2 MiB (`$wgMaxArticleSize`), and a
line is in memory several times while it is parsed."""

_TEMPORARY_ENDINGS = (".tmp", ".temp", ".partial", ".incomplete", ".inprogress")
"""`a.tmp.jsonl` is a file that a writer has not renamed yet (`a.jsonl.tmp` has no Curator suffix anyway)."""

_PARQUET_BATCH_ROWS = 64
"""Rows decoded at a time: 64 documents of 10 MB still fit a small machine."""

_UTF8_BOM = b"\xef\xbb\xbf"


class CuratorFileError(SynthError):
    """A Curator output that cannot be read, or not further: names file and position."""


class CuratorFolderError(SynthError):
    """The folder of Curator outputs cannot be read."""


def list_curator_files(folder: Path) -> dict[str, Path]:
    """Curator outputs in `folder` and its subfolders, by their path relative to it with `/`, sorted.

    Hidden names, names that begin with `_`, and files under a temporary name are skipped; links to folders
    are not followed. Raises CuratorFolderError when the folder, or one below it, cannot be listed, or when
    the name of a file cannot be a partition key.
    """
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise CuratorFolderError(
            f"CURATOR_OUTPUT_DIR is {folder}, which {what}.",
            "Set it to the folder that Curator wrote its *.jsonl, *.jsonl.gz or *.parquet files to.",
        )
    found: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder, onerror=_cannot_list):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        for name in names:
            path = Path(parent, name)
            if _is_curator_name(name) and path.is_file():
                found[_partition_key(path.relative_to(folder))] = path
    return dict(sorted(found.items()))


def content_fingerprint(path: Path) -> str:
    """Hash (32 hex digits) of the file's bytes; raises CuratorFileError when they cannot be read."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise _file_error(path, path.name, 0, error) from error


def read_curator_file(path: Path, curator_file: str) -> Iterator[CuratorDocument | UnreadableRow]:
    """The rows of one Curator output, in order, each as a document or as the reason why it is none.

    An empty file has no rows. Raises CuratorFileError, after the rows before the fault, when the file itself
    is at fault: not what its suffix says, truncated, damaged, without a column `text` (Parquet), unreadable,
    gone.
    """
    row_number = 0
    try:
        for row in _rows(path, curator_file):
            row_number = row.row_number
            yield row
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _file_error(path, curator_file, row_number, error) from error


def _rows(path: Path, curator_file: str) -> Iterator[CuratorDocument | UnreadableRow]:
    if path.stat().st_size == 0:
        return
    name = path.name.lower()
    if name.endswith(".parquet"):
        yield from _parquet_rows(path, curator_file)
    elif name.endswith(".jsonl.gz"):
        with gzip.open(path, "rb") as handle:
            yield from _json_rows(handle, curator_file)
    elif name.endswith(".jsonl"):
        with path.open("rb") as handle:
            yield from _json_rows(handle, curator_file)
    else:
        raise CuratorFileError(f"{curator_file} ends in none of {', '.join(CURATOR_SUFFIXES)}.", "Rename it.")


def _json_rows(handle: IO[bytes] | gzip.GzipFile, curator_file: str) -> Iterator[CuratorDocument | UnreadableRow]:
    for row_number, line in _lines(handle):
        try:
            row = _parsed_line(line, is_first=row_number == 1)
        except _BadLineError as fault:
            yield UnreadableRow(curator_file, row_number, "unreadable_row", str(fault))
        else:
            yield make_document(row, curator_file, row_number)


class _BadLineError(Exception):
    """What is wrong with a line, in words."""


def _lines(handle: IO[bytes] | gzip.GzipFile) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, without blank ones; of one over the limit only the beginning."""
    row_number = 0
    while line := handle.readline(MAX_LINE_BYTES + 1):
        row_number += 1
        rest = line
        while len(rest) > 2**20 and not rest.endswith(b"\n"):
            rest = handle.readline(2**20 + 1)
        if line.strip():
            yield row_number, line


def _parsed_line(line: bytes, is_first: bool) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise _BadLineError(f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB")
    skipped = len(_UTF8_BOM) if is_first and line.startswith(_UTF8_BOM) else 0
    try:
        row = json.loads(line[skipped:].decode())
    except UnicodeDecodeError as error:
        position = skipped + error.start
        raise _BadLineError(f"invalid UTF-8 at byte {position + 1} of the line (0x{line[position]:02x})") from None
    except json.JSONDecodeError as error:
        raise _BadLineError(f"broken JSON: {error.msg} at character {error.pos + 1} of the line") from None
    except RecursionError:
        raise _BadLineError("JSON that is nested too deeply") from None
    except ValueError as error:  # a number of more digits than Python converts
        raise _BadLineError(f"broken JSON: {error}") from None
    if not isinstance(row, dict):
        raise _BadLineError(f"a JSON {type(row).__name__}, not an object")
    return row


def _parquet_rows(path: Path, curator_file: str) -> Iterator[CuratorDocument | UnreadableRow]:
    # A buffered stream instead of whole column chunks: a row group can be larger than memory.
    with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as source:
        names = source.schema_arrow.names
        if "text" not in names:
            raise CuratorFileError(
                f"{curator_file} has no column `text`; its columns are {', '.join(names)}.",
                "Write the documents' text to a column of that name.",
            )
        columns = [name for name in CURATOR_COLUMNS if name in names]
        row_number = 0
        for batch in source.iter_batches(_PARQUET_BATCH_ROWS, columns=columns, use_threads=False):
            for index in range(batch.num_rows):
                row_number += 1
                try:
                    row = {name: batch.column(name)[index].as_py() for name in columns}
                except (ValueError, OverflowError) as error:  # invalid UTF-8; a date beyond Python's
                    yield UnreadableRow(curator_file, row_number, "unreadable_row", str(error))
                else:
                    yield make_document(row, curator_file, row_number)


def _is_curator_name(name: str) -> bool:
    suffix = next((suffix for suffix in CURATOR_SUFFIXES if name.lower().endswith(suffix)), None)
    if suffix is None or name.startswith((".", "_")):
        return False
    return not name.lower().removesuffix(suffix).endswith(_TEMPORARY_ENDINGS)


def _partition_key(relative: Path) -> str:
    key = relative.as_posix()
    if not key.isprintable() or "..." in key:
        raise CuratorFolderError(
            f"The name of {key!r} in CURATOR_OUTPUT_DIR cannot be a partition key.",
            "Rename it: no control characters, no bytes that are not UTF-8, no three dots in a row.",
        )
    return key


def _cannot_list(error: OSError) -> None:
    raise CuratorFolderError(
        f"The folder {error.filename} in CURATOR_OUTPUT_DIR cannot be listed: {error.strerror}.",
        "Make it readable, or give it a name that begins with `_` to leave it out.",
    ) from error


def _file_error(path: Path, curator_file: str, row_number: int, error: Exception) -> CuratorFileError:
    where = f"after row {row_number}" if row_number else "at its beginning"
    if isinstance(error, FileNotFoundError):
        return CuratorFileError(f"{curator_file} is gone ({path}).", "Run again: the folder is listed anew.")
    if isinstance(error, EOFError | gzip.BadGzipFile | zlib.error):
        return CuratorFileError(
            f"{curator_file} is no whole gzip file: {error} ({where}).",
            f"Check it with `gzip -t {path}` and copy or write it again.",
        )
    # pyarrow reports a damaged page as an OSError without a number.
    if isinstance(error, pa.ArrowException) or (isinstance(error, OSError) and error.errno is None):
        return CuratorFileError(
            f"{curator_file} is no whole Parquet file: {error} ({where}).", "Copy or write it again."
        )
    return CuratorFileError(
        f"{curator_file} cannot be read: {error} ({where}).",
        f"Check the file and the permissions of {path}.",
    )
