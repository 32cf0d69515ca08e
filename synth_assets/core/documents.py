"""Reads Curator's outputs: each row of a file comes out as a document or as a row that is refused by name.

In: the formats (JSON lines, gzipped JSON lines, Parquet), and what is wrong with a file. Out: where files are and
which of them are Curator's (`local_folder`, `object_store`, `curator_files`), what makes a row a document
(`curator_row`), whether it is worth rephrasing (`suitability`), duplicates, and which files are new. Everything
streams: memory holds one line or one small batch of rows.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import SynthError
from synth_assets.core.curator_files import CURATOR_SUFFIXES, CuratorSource
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
    "UnreadableRow",
    "content_fingerprint",
    "document_id",
    "read_curator_file",
]

MAX_LINE_BYTES = 64 * 2**20
"""A longer line is refused unread: MediaWiki's own limit for a page is 2 MiB (`$wgMaxArticleSize`), and a
line is in memory several times while it is parsed."""

_PARQUET_BATCH_ROWS = 64
"""Rows decoded at a time: 64 documents of 10 MB still fit a small machine."""

_HASH_BLOCK_BYTES = 2**20

_UTF8_BOM = b"\xef\xbb\xbf"


class CuratorFileError(SynthError):
    """A Curator output that cannot be read, or not further: names file and position."""


def content_fingerprint(source: CuratorSource) -> str:
    """Hash (32 hex digits) of the file's bytes; raises CuratorFileError when they cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with source.open("rb") as handle:
            while block := handle.read(_HASH_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise _file_error(source, str(source).rpartition("/")[2], 0, error) from error
    return digest.hexdigest()


def read_curator_file(source: CuratorSource, curator_file: str) -> Iterator[CuratorDocument | UnreadableRow]:
    """The rows of one Curator output, in order, each as a document or as the reason why it is none.

    An empty file has no rows. Raises CuratorFileError, after the rows before the fault, when the file itself
    is at fault: not what its suffix says, truncated, damaged, without a column `text` (Parquet), unreadable,
    gone.
    """
    row_number = 0
    try:
        for row in _rows(source, curator_file):
            row_number = row.row_number
            yield row
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise _file_error(source, curator_file, row_number, error) from error


def _rows(source: CuratorSource, curator_file: str) -> Iterator[CuratorDocument | UnreadableRow]:
    name = curator_file.lower()
    if not name.endswith(CURATOR_SUFFIXES):
        raise CuratorFileError(f"{curator_file} ends in none of {', '.join(CURATOR_SUFFIXES)}.", "Rename it.")
    with source.open("rb") as handle:
        if name.endswith(".jsonl"):
            yield from _json_rows(handle, curator_file)
        elif name.endswith(".jsonl.gz"):
            with gzip.GzipFile(fileobj=handle) as unpacked:
                yield from _json_rows(unpacked, curator_file)
        elif handle.seek(0, io.SEEK_END) > 0:
            yield from _parquet_rows(handle, curator_file)


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


def _parquet_rows(handle: IO[bytes], curator_file: str) -> Iterator[CuratorDocument | UnreadableRow]:
    # A buffered stream instead of whole column chunks: a row group can be larger than memory.
    with pq.ParquetFile(handle, buffer_size=2**20, pre_buffer=False) as source:
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


def _file_error(source: CuratorSource, curator_file: str, row_number: int, error: Exception) -> CuratorFileError:
    where = f"after row {row_number}" if row_number else "at its beginning"
    if isinstance(error, FileNotFoundError):
        return CuratorFileError(f"{curator_file} is gone ({source}).", "Run again: the folder is listed anew.")
    if isinstance(error, EOFError | gzip.BadGzipFile | zlib.error):
        return CuratorFileError(
            f"{curator_file} is no whole gzip file: {error} ({where}).",
            "Check it with `gzip -t` and copy or write it again.",
        )
    # pyarrow reports a damaged page as an OSError without a number.
    if isinstance(error, pa.ArrowException) or (isinstance(error, OSError) and error.errno is None):
        return CuratorFileError(
            f"{curator_file} is no whole Parquet file: {error} ({where}).", "Copy or write it again."
        )
    return CuratorFileError(
        f"{curator_file} cannot be read: {error} ({where}).",
        f"Check the file and the permissions of {source}.",
    )
