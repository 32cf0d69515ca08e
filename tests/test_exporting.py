"""Exports: whole files with an explicit schema, or none."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.errors import SynthError
from resources.lake import Lake
from resources.lake_write import Replacement
from synth_assets.core.tables import MERGED_DOCUMENTS
from synth_assets.exporting import LONG_COLUMNS, WIDE_TABLE, export_table

TEXT = 'Größe: 東京, "quoted"\nand a second line'


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data")


def fill(lake: Lake, count: int) -> None:
    rows = [
        {"merged_id": str(number), "document_id": str(number), "curator_file": "a.jsonl", "strategy": "original",
         "text": TEXT, "token_count": number}
        for number in range(count)
    ]  # fmt: skip
    rows_table = pa.Table.from_pylist(rows, schema=MERGED_DOCUMENTS.schema)
    lake.replace([Replacement(MERGED_DOCUMENTS.name, rows_table, {})])


def test_parquet_and_jsonl_hold_the_same_rows(lake, tmp_path):
    fill(lake, 3)
    parquet = export_table(lake, tmp_path / "out", "parquet", False)
    jsonl = export_table(lake, tmp_path / "out", "jsonl", False)
    lines = [json.loads(line) for line in jsonl.path.read_text(encoding="utf-8").splitlines()]
    assert lines == pq.read_table(parquet.path).to_pylist()
    assert parquet.rows == jsonl.rows == len(lines) == 3
    assert lines[0]["text"] == TEXT
    assert parquet.bytes == parquet.path.stat().st_size


def test_a_column_without_values_keeps_its_type(lake, tmp_path):
    fill(lake, 2)
    schema = pq.read_schema(export_table(lake, tmp_path, "parquet", False).path)
    assert schema.names == LONG_COLUMNS
    assert (schema.field("title").type, schema.field("token_count").type) == (pa.string(), pa.int64())


def test_an_export_replaces_the_last_one_and_leaves_nothing_beside_it(lake, tmp_path):
    out = tmp_path / "out"
    fill(lake, 3)
    export_table(lake, out, "parquet", False)
    fill(lake, 1)
    written = export_table(lake, out, "parquet", False)
    assert pq.read_table(written.path).num_rows == 1
    assert list(out.iterdir()) == [written.path]


@pytest.mark.parametrize("is_wide", [False, True])
def test_without_a_table_nothing_is_written(lake, tmp_path, is_wide):
    with pytest.raises(SynthError, match=WIDE_TABLE if is_wide else MERGED_DOCUMENTS.name):
        export_table(lake, tmp_path / "out", "parquet", is_wide)
    assert not (tmp_path / "out").exists()
