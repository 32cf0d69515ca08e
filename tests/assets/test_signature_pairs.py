"""Comparing signatures bit by bit: the same pairs in any order of files, and nothing twice."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from resources.lake import Lake, Replacement
from synth_assets.assets import signature_pairs
from synth_assets.assets.near_duplicates import drop_rows, find_near_duplicates, near_duplicate_row
from synth_assets.assets.signature_pairs import Comparison, compare_new_signatures
from synth_assets.core.near_duplicates import sign
from synth_assets.core.quality_tables import NEAR_DUPLICATES, SIGNATURES, SIMILAR_SIGNATURES


@pytest.fixture
def make_lake(tmp_path):
    def make(name: str) -> Lake:
        lake = Lake(f"sqlite:{tmp_path}/{name}/catalog.sqlite", f"{tmp_path}/{name}/data")
        lake.upgrade()
        return lake

    return make


def text(number: int, changed: int = 0) -> str:
    """400 words of its own for each number; `changed` of them are others, far apart."""
    rng = random.Random(number)
    made = [f"word{rng.randrange(10_000)}" for _ in range(400)]
    for place in range(changed):
        made[40 + 40 * place] = f"changed{place}"
    return " ".join(made)


def put(lake: Lake, file: str, texts: dict[str, str], strategy: str = "original") -> None:
    signed = sign(list(texts.values()))
    rows = [
        {
            "merged_id": f"{strategy}-{name}", "document_id": name, "curator_file": file, "strategy": strategy,
            "signature_id": one.signature_id, "shingle_count": one.shingle_count, "signature": one.values,
            "bands": one.bands,
        }
        for name, one in zip(texts, signed, strict=True)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=SIGNATURES.schema)
    lake.replace([Replacement(SIGNATURES.name, table, {"curator_file": file})])


def found(lake: Lake) -> list[dict[str, Any]]:
    rows = [near_duplicate_row(one) for one in find_near_duplicates(lake)]
    return sorted(rows, key=lambda row: row["merged_id"])


FILES = {
    "a.jsonl": {"1": text(1), "2": text(2), "3": "A short text."},
    "b.jsonl": {"4": text(1, 2), "5": text(5), "6": "A short text!"},
    "c.jsonl": {"7": text(1, 3), "8": text(2), "9": text(9)},
}


def test_files_in_any_order_together_or_one_after_the_other_give_the_same_rows(make_lake):
    together = make_lake("together")
    for file, texts in FILES.items():
        put(together, file, texts)
    compare_new_signatures(together)
    expected = found(together)
    assert [(row["merged_id"], row["kept_merged_id"]) for row in expected] == [
        ("original-4", "original-1"),
        ("original-6", "original-3"),
        ("original-7", "original-1"),
        ("original-8", "original-2"),
    ]
    for order in (tuple(FILES), tuple(reversed(FILES))):
        lake = make_lake("-".join(order))
        for file in order:
            put(lake, file, FILES[file])
            compare_new_signatures(lake)
        assert found(lake) == expected


def test_a_third_file_is_compared_by_itself_and_nothing_is_compared_twice(make_lake):
    lake = make_lake("lake")
    put(lake, "a.jsonl", FILES["a.jsonl"])
    put(lake, "b.jsonl", FILES["b.jsonl"])
    # Two texts share bands; the short texts are one signature.
    assert compare_new_signatures(lake) == Comparison(5, 1, 1)
    assert compare_new_signatures(lake) == Comparison(0, 0, 0)
    put(lake, "c.jsonl", FILES["c.jsonl"])
    # Text 8 has the signature of 2; 7 shares bands with 1 and 4; 9 with none.
    assert compare_new_signatures(lake) == Comparison(2, 2, 2)


def test_a_changed_file_is_compared_anew_and_its_old_pairs_are_gone(make_lake):
    lake = make_lake("lake")
    for file, texts in FILES.items():
        put(lake, file, texts)
    compare_new_signatures(lake)
    put(lake, "b.jsonl", {"4": text(44), "5": text(5), "6": "A short text!"})
    assert compare_new_signatures(lake) == Comparison(1, 0, 0)
    assert lake.read(SIMILAR_SIGNATURES.name).num_rows == 1
    assert [row["merged_id"] for row in found(lake)] == ["original-6", "original-7", "original-8"]


def test_nothing_is_left_out_for_a_document_whose_file_is_gone(make_lake):
    lake = make_lake("lake")
    for file, texts in FILES.items():
        put(lake, file, texts)
    compare_new_signatures(lake)
    lake.delete(SIGNATURES.name, {"curator_file": "a.jsonl"})
    compare_new_signatures(lake)
    assert [(row["merged_id"], row["kept_merged_id"]) for row in found(lake)] == [("original-7", "original-4")]


def test_many_turns_find_what_one_finds(make_lake, monkeypatch):
    texts = {f"{number:03}": text(number // 3, number % 3) for number in range(60)}
    once, many = make_lake("once"), make_lake("many")
    for lake, at_once in ((once, 1000), (many, 7)):
        put(lake, "a.jsonl", texts)
        monkeypatch.setattr(signature_pairs, "SIGNATURES_AT_ONCE", at_once)
        monkeypatch.setattr(signature_pairs, "_IDS_AT_ONCE", at_once)
        compare_new_signatures(lake)
    assert found(many) == found(once)
    assert [row["document_id"] for row in found(once)] == [name for name in texts if int(name) % 3]


def test_thousands_of_equal_texts_are_compared_once(make_lake):
    lake = make_lake("lake")
    put(lake, "a.jsonl", {f"{number:04}": text(1) for number in range(1000)})
    assert compare_new_signatures(lake) == Comparison(1, 0, 0)
    rows = found(lake)
    assert {row["kept_merged_id"] for row in rows} == {"original-0000"}
    assert len(rows) == 999


def test_a_rephrased_copy_of_an_original_is_left_out_for_it_and_the_drop_says_so(make_lake):
    lake = make_lake("lake")
    put(lake, "a.jsonl", {"9": text(1)})
    put(lake, "b.jsonl", {"1": text(1)}, strategy="distill")
    compare_new_signatures(lake)
    [row] = found(lake)
    assert (row["strategy"], row["kept_strategy"], row["similarity"]) == ("distill", "original", 1.0)
    [drop] = drop_rows(pa.Table.from_pylist([row], schema=NEAR_DUPLICATES.schema)).to_pylist()
    assert (drop["strategy"], drop["stage"], drop["reason"]) == ("mix", "near_duplicate", "near_duplicate")
    assert (drop["document_id"], drop["curator_file"]) == ("1", "b.jsonl")
    assert drop["detail"] == "distill distill-1 is like original original-9, which is kept: 1.00"
