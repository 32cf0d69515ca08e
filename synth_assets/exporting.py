"""Writing training data out of the lake: plain Parquet or JSONL with an explicit schema, whole files or none.

In: the long form (`merged.documents`) and the wide form (`merged.multistrategy`). Out: which rows there are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.errors import SynthError
from resources.lake import Lake
from synth_assets.core.tables import MERGED_DOCUMENTS

WIDE_TABLE = "merged.multistrategy"
LONG_NAME, WIDE_NAME = "wiki_synthetic_documents", "wiki_synthetic_multistrategy"
LONG_COLUMNS = ["merged_id", "document_id", "curator_file", "strategy", "title", "text", "token_count"]


@dataclass(frozen=True)
class ExportedFile:
    """One file that was written."""

    path: Path
    rows: int
    bytes: int


def export_table(lake: Lake, directory: Path, file_format: str, is_wide: bool) -> ExportedFile:
    """Write the long or the wide form to `directory`, streaming; raises SynthError when there is nothing to write."""
    table = WIDE_TABLE if is_wide else MERGED_DOCUMENTS.name
    if not lake.has_table(table):
        raise SynthError(f"There is no {table} yet.", "Run `synth run` first.")
    directory.mkdir(parents=True, exist_ok=True)
    reader = lake.scan(table, columns=None if is_wide else LONG_COLUMNS)
    target = directory / f"{WIDE_NAME if is_wide else LONG_NAME}.{file_format}"
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        rows = _write_parquet(reader, temporary) if file_format == "parquet" else _write_jsonl(reader, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return ExportedFile(target, rows, target.stat().st_size)


def _write_parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    rows = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_jsonl(reader: pa.RecordBatchReader, path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8") as file:
        for line in _json_lines(reader):
            file.write(line)
            rows += 1
    return rows


def _json_lines(reader: pa.RecordBatchReader) -> Iterator[str]:
    for batch in reader:
        for row in batch.to_pylist():
            yield json.dumps(row, ensure_ascii=False) + "\n"
