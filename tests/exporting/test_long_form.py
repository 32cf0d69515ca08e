"""Exports: whole files with an explicit schema, everything once; what leads each row back."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.errors import SynthError
from resources.lake_write import Replacement
from synth_assets.core.tables import MERGED_DOCUMENTS, multistrategy
from synth_assets.exporting.long_form import ExportOptions, export_long
from synth_assets.exporting.long_rows import LONG_SCHEMA
from synth_assets.exporting.wide_form import WIDE_TABLE, export_wide
from synth_assets.strategies import discover

STRATEGIES = discover()


def test_parquet_and_jsonl_hold_the_same_rows_and_stand_side_by_side(stock, lake, tmp_path):
    stock.fill(3)
    parquet = export_long(lake, tmp_path / "out", ExportOptions("parquet"), STRATEGIES).files[0]
    jsonl = export_long(lake, tmp_path / "out", ExportOptions("jsonl"), STRATEGIES).files[0]
    lines = [json.loads(line) for line in jsonl.path.read_text(encoding="utf-8").splitlines()]
    assert sorted(lines, key=lambda row: row["merged_id"]) == sorted(
        pq.read_table(parquet.path).to_pylist(), key=lambda row: row["merged_id"]
    )
    assert parquet.rows == jsonl.rows == len(lines) == 9
    assert any(row["text"] == 'distill: Größe 1,\n"東京"' for row in lines)
    assert parquet.bytes == parquet.path.stat().st_size
    assert [parquet.path.name, jsonl.path.name] == [
        "wiki_synthetic_documents.parquet", "wiki_synthetic_documents.jsonl"
    ]  # fmt: skip


def test_a_row_carries_its_model_and_the_address_licence_and_attribution_of_its_source(stock, lake, tmp_path):
    stock.fill(4)
    written = export_long(lake, tmp_path / "out", ExportOptions(), STRATEGIES)
    rows = {row["merged_id"]: row for row in pq.read_table(written.files[0].path).to_pylist()}
    made, original = rows[stock.identity("distill", 3)], rows[stock.identity("original", 3)]
    assert made["document_id"] == original["document_id"] == stock.identity("document", 3)
    assert (made["url"], made["license"], made["attribution"], made["language"]) == (
        "https://example.org/3", "CC BY-SA 4.0", "Author 0", "en"
    )  # fmt: skip
    assert (made["model"], original["model"]) == ("tiny-model", None)


def test_a_column_without_values_keeps_its_type(lake, tmp_path):
    row = {"merged_id": "1", "document_id": "1", "curator_file": "a.jsonl", "strategy": "original", "text": "x"}
    lake.replace([Replacement(MERGED_DOCUMENTS.name, pa.Table.from_pylist([row], schema=MERGED_DOCUMENTS.schema), {})])
    path = export_long(lake, tmp_path / "out", ExportOptions()).files[0].path
    assert pq.read_schema(path).equals(LONG_SCHEMA)
    assert pq.read_table(path)["license"].to_pylist() == [None]


def test_an_export_replaces_the_last_one_and_leaves_nothing_unfinished_beside_it(stock, lake, tmp_path):
    out = tmp_path / "out"
    stock.fill(3)
    export_long(lake, out, ExportOptions(), STRATEGIES)
    stock.fill(1)
    written = export_long(lake, out, ExportOptions(), STRATEGIES)
    assert pq.read_table(written.files[0].path).num_rows == 3
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "manifest.json", "wiki_synthetic_documents.parquet"
    ]  # fmt: skip


def test_near_duplicates_are_left_out_and_counted_unless_they_are_to_be_kept(stock, lake, tmp_path):
    stock.fill(6)
    stock.mark_near_duplicates("distill", [1, 4])
    done = export_long(lake, tmp_path / "out", ExportOptions(), STRATEGIES)
    ids = set(pq.read_table(done.files[0].path)["merged_id"].to_pylist())
    assert (done.selection.near_duplicates_left_out, len(ids)) == (2, 16)
    assert not ids & {stock.identity("distill", 1), stock.identity("distill", 4)}
    kept = export_long(lake, tmp_path / "all", ExportOptions(keeps_near_duplicates=True), STRATEGIES)
    assert (kept.selection.near_duplicates_left_out, kept.selection.rows) == (0, 18)


def test_many_ranges_of_files_and_ids_give_every_row_once(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("synth_assets.exporting.long_rows.CHARS_JOINED_AT_ONCE", 500)
    done = export_long(filled.lake, tmp_path / "out", ExportOptions(), STRATEGIES)
    ids = pq.read_table(done.files[0].path)["merged_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 180


def test_the_wide_form_has_its_own_file_and_no_card(lake, tmp_path):
    schema = multistrategy(("distill",)).schema
    rows = pa.Table.from_pylist([{"document_id": "1", "text": "x", "distill": None}], schema=schema)
    lake.replace([Replacement(WIDE_TABLE, rows, {})])
    written = export_wide(lake, tmp_path / "out", "parquet")
    assert pq.read_schema(written.path).equals(schema)
    assert list((tmp_path / "out").iterdir()) == [written.path]


def test_without_a_table_nothing_is_written(lake, tmp_path):
    with pytest.raises(SynthError, match=WIDE_TABLE):
        export_wide(lake, tmp_path / "out", "parquet")
    with pytest.raises(SynthError, match=MERGED_DOCUMENTS.name):
        export_long(lake, tmp_path / "out", ExportOptions())
    assert not (tmp_path / "out").exists()
