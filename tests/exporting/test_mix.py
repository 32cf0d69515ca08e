"""The mix as files: the same bytes for the same inputs and seed, shares, budget, repetitions, shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synth_assets.core.mixture import MixOptions
from synth_assets.exporting.long_form import ExportOptions, export_long
from synth_assets.exporting.shuffling import shuffled
from synth_assets.strategies import discover

STRATEGIES = discover()
MIX = ExportOptions(mix=MixOptions(real_share=0.4, token_budget=600, max_repeats=2), seed=7, shards=3)


def export(lake, folder, options=MIX):
    return export_long(lake, folder, options, STRATEGIES)


def rows_of(done):
    return [row for file in done.files for row in pq.read_table(file.path).to_pylist()]


def bytes_of(done, is_data_only=False):
    paths = [file.path for file in done.files] if is_data_only else sorted(done.card.parent.iterdir())
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_the_same_lake_and_seed_give_the_same_files_to_the_byte(filled, tmp_path, file_format):
    lake = filled.lake
    options = replace(MIX, file_format=file_format)
    assert bytes_of(export(lake, tmp_path / "one", options)) == bytes_of(export(lake, tmp_path / "two", options))


def test_rows_that_stand_in_another_order_in_the_lake_give_the_same_files(make_stock, tmp_path):
    forward, backward = make_stock("forward"), make_stock("backward")
    forward.fill(40)
    backward.fill(40, is_reversed=True)
    one, two = export(forward.lake, tmp_path / "one"), export(backward.lake, tmp_path / "two")
    assert bytes_of(one, is_data_only=True) == bytes_of(two, is_data_only=True)
    assert one.card.read_bytes() == two.card.read_bytes()


def test_another_seed_takes_and_orders_other_rows(filled, tmp_path):
    lake = filled.lake
    one, two = export(lake, tmp_path / "one"), export(lake, tmp_path / "two", replace(MIX, seed=8))
    ids = [[row["merged_id"] for row in rows_of(done)] for done in (one, two)]
    assert ids[0] != ids[1]
    assert set(ids[0]) != set(ids[1])


def test_each_part_has_its_share_of_the_budget_and_at_most_one_document_more(filled, tmp_path):
    lake = filled.lake
    done = export(lake, tmp_path / "out")
    tokens = Counter()
    for row in rows_of(done):
        tokens[row["strategy"]] += row["token_count"]
    for part in done.selection.parts:
        assert tokens[part.plan.part] == part.tokens
        assert part.plan.target_tokens <= part.tokens < part.plan.target_tokens + 16
    assert tokens["original"] == pytest.approx(240, abs=16)
    assert tokens["distill"] == pytest.approx(180, abs=16)


def test_repetitions_reach_the_cap_and_what_is_short_is_named_in_card_and_manifest(stock, lake, tmp_path):
    stock.fill(10)
    options = ExportOptions(mix=MixOptions(weights={"distill": 1.0}, real_share=0.0, token_budget=1000, max_repeats=3))
    done = export(lake, tmp_path / "out", options)
    counts = Counter(row["merged_id"] for row in rows_of(done))
    available = sum(10 + number % 7 for number in range(10))
    assert set(counts.values()) == {3}
    assert len(counts) == 10
    assert done.selection.shortfalls == {"distill": 1000 - 3 * available}
    assert f"distill is {1000 - 3 * available} tokens short" in done.card.read_text()
    assert f'"distill": {1000 - 3 * available}' in done.manifest.read_text()


def test_a_cut_second_pass_repeats_some_documents_and_no_more(stock, lake, tmp_path):
    stock.fill(10)
    options = ExportOptions(mix=MixOptions(weights={"distill": 1.0}, real_share=0.0, token_budget=190, max_repeats=2))
    counts = Counter(row["merged_id"] for row in rows_of(export(lake, tmp_path / "out", options)))
    assert set(counts.values()) == {1, 2}


def test_rows_are_shuffled_over_parts_and_files(filled, tmp_path):
    lake = filled.lake
    rows = rows_of(export(lake, tmp_path / "out", ExportOptions(shards=1)))
    changes = sum(one["strategy"] != two["strategy"] for one, two in pairwise(rows))
    assert len(rows) == len({row["merged_id"] for row in rows}) == 180
    assert 90 < changes < 150  # 120 expected of a fair shuffle, 2 of none


def test_a_part_that_is_cut_does_not_come_first(stock, lake, tmp_path):
    stock.fill(200)
    options = ExportOptions(mix=MixOptions(real_share=0.8, weights={"distill": 1.0}))
    rows = rows_of(export(lake, tmp_path / "out", options))
    places = [place for place, row in enumerate(rows) if row["strategy"] == "distill"]
    assert 0.35 < sum(places) / len(places) / len(rows) < 0.65


def test_shards_hold_equal_numbers_of_rows_and_are_named_as_the_hub_names_them(stock, lake, tmp_path):
    stock.fill(20)
    done = export(lake, tmp_path / "out", ExportOptions(shards=7))
    assert [file.path.name for file in done.files][:2] == [
        "wiki_synthetic_documents-00000-of-00007.parquet", "wiki_synthetic_documents-00001-of-00007.parquet"
    ]  # fmt: skip
    assert {file.rows for file in done.files} == {8, 9}
    assert sum(file.rows for file in done.files) == 60
    whole = export(lake, tmp_path / "whole", ExportOptions(shards=1))
    assert rows_of(whole) == rows_of(done)


def test_more_shards_than_rows_give_one_row_each(stock, lake, tmp_path):
    stock.fill(1)
    assert [file.rows for file in export(lake, tmp_path / "out", ExportOptions(shards=9)).files] == [1, 1, 1]


SCHEMA = pa.schema(
    {"merged_id": pa.string(), "curator_file": pa.string(), "order_key": pa.uint64(), "repetition": pa.int32()}
)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.sampled_from([0, 10**8, 10**12]), st.integers(1, 20))
def test_spread_over_any_number_of_buckets_rows_come_out_in_order(tmp_path_factory, keys, chars, size):
    rows = [{"merged_id": str(place), "curator_file": "a", "order_key": key, "repetition": 0}
            for place, key in enumerate(keys)]  # fmt: skip
    batches = pa.Table.from_pylist(rows, schema=SCHEMA).to_batches(max_chunksize=size)
    folder = tmp_path_factory.mktemp("sort") / "buckets"
    found = [row for batch in shuffled(iter(batches), SCHEMA, folder, chars) for row in batch.to_pylist()]
    assert found == sorted(rows, key=lambda row: (row["order_key"], row["merged_id"]))
    assert not folder.exists()
