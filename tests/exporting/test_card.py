"""The data card and the manifest: what the hub reads, what a trainer has to know, and nothing that takes effect."""

from __future__ import annotations

import hashlib
import json

import pyarrow as pa
import pytest
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st

from resources.lake_write import Replacement
from synth_assets.core.mixture import MixOptions
from synth_assets.core.quality_tables import TEXT_QUALITY
from synth_assets.core.tables import CURATED_DOCUMENTS, JUDGE_SCORES, MERGED_DOCUMENTS, PERPLEXITY
from synth_assets.exporting.card import hub_licenses, markdown_text
from synth_assets.exporting.long_form import ExportOptions, export_long
from synth_assets.strategies import discover

STRATEGIES = discover()


def export(lake, folder, **options):
    return export_long(lake, folder, ExportOptions(**options), STRATEGIES)


def card_of(done):
    return done.card.read_text(encoding="utf-8")


def table(spec, rows):
    return Replacement(spec.name, pa.Table.from_pylist(rows, schema=spec.schema), {})


def test_the_hub_reads_the_header(stock, lake, tmp_path):
    stock.fill(3)
    done = export(lake, tmp_path / "out", shards=2)
    data = DatasetCard.load(done.card).data.to_dict()
    assert data["language"] == ["en"]
    assert data["license"] == ["cc-by-sa-4.0"]
    assert data["size_categories"] == ["n<1K"]
    assert data["task_categories"] == ["text-generation"]
    assert "synthetic" in data["tags"]
    files = data["configs"][0]["data_files"][0]
    assert (files["split"], files["path"]) == ("train", [file.path.name for file in done.files])


def test_the_card_names_sources_licences_models_prompts_counts_and_drops(stock, lake, tmp_path):
    stock.fill(4)
    stock.drop(document_id="x", curator_file="a.jsonl", strategy="distill", stage="gates", reason="low_quality")
    card = card_of(export(lake, tmp_path / "out"))
    distill = next(strategy for strategy in STRATEGIES if strategy.name == "distill")
    assert "| a.jsonl | 2 |" in card
    assert "| CC BY-SA 4.0 | 4 |" in card
    assert "| Author 0 | 2 |" in card
    assert "| distill | tiny-model | rev-1 | 4 |" in card
    assert f"| distill | {distill.generation_fingerprint} |" in card
    assert "| distill | gates | low\\_quality | 1 |" in card
    assert "Near-duplicates were not looked for." in card
    assert "No text was judged." in card


def test_the_card_has_the_measures_of_each_part(stock, lake, tmp_path):
    stock.fill(2)
    who = {"merged_id": stock.identity("distill", 0), "strategy": "distill"}
    judged = {"judge_model": "a-judge", "coherence": 4.0, "faithfulness": 3.5, "information_density": 2.0}
    lake.replace(
        [
            table(PERPLEXITY, [{**who, "reference_model": "tiny", "perplexity": 8.0, "bits_per_byte": 1.25}]),
            table(JUDGE_SCORES, [{**who, **judged}]),
            table(TEXT_QUALITY, [{**who, "length_ratio": 0.5, "is_language_kept": True}]),
        ]
    )
    card = card_of(export(lake, tmp_path / "out"))
    assert "| distill | tiny | 1 | 8 | 1.25 |" in card
    assert "| distill | a-judge | 1 of 2 | 4 | 3.5 | 2 |" in card
    assert "| length\\_ratio | 0.5 |" in card
    assert "| is\\_language\\_kept | 1 |" in card
    assert "a-judge's opinion" in card


def test_what_a_corpus_states_takes_no_effect_in_the_card(stock, lake, tmp_path):
    stock.fill(1)
    stock.drop(
        document_id="x", curator_file="a", reason="#\n# d",
        strategy="<script>alert(1)</script>", stage="| a | [b](http://c)",
    )  # fmt: skip
    card = card_of(export(lake, tmp_path / "out"))
    assert "<script>" not in card
    assert "\\| a \\| \\[b\\]\\(http:&#47;&#47;c\\)" in card
    assert "\n# d" not in card


def test_a_long_list_is_cut_and_says_so(lake, tmp_path):
    rows = [
        {"document_id": str(place), "curator_file": f"{place:02d}.jsonl", "is_duplicate": False, "is_candidate": True}
        for place in range(25)
    ]
    lake.replace([table(CURATED_DOCUMENTS, rows), table(MERGED_DOCUMENTS, [])])
    card = card_of(export(lake, tmp_path / "out"))
    assert "| 19.jsonl | 1 |" in card
    assert "20.jsonl" not in card
    assert "5 more are not listed." in card


def test_a_lake_without_anything_but_texts_still_has_a_card(lake, tmp_path):
    row = {"merged_id": "1", "document_id": "1", "curator_file": "a.jsonl", "strategy": "original", "text": "x"}
    lake.replace([table(MERGED_DOCUMENTS, [row])])
    done = export(lake, tmp_path / "out")
    assert DatasetCard.load(done.card).data.to_dict()["license"] == ["unknown"]
    assert "| not stated | all |" in card_of(done)


def test_licences_that_the_hub_has_not_are_other_and_missing_ones_unknown():
    assert hub_licenses(["CC BY 4.0", "Crown copyright", None]) == ["cc-by-4.0", "other", "unknown"]


@given(st.text())
def test_escaped_text_is_one_short_line_without_markup(text):
    escaped = markdown_text(text)
    assert "\n" not in escaped
    assert "<" not in escaped
    assert all(escaped[place - 1] == "\\" for place, char in enumerate(escaped) if char in "|`[")


def test_the_manifest_has_the_checksum_of_every_file_and_the_snapshot(stock, lake, tmp_path):
    stock.fill(5)
    done = export(lake, tmp_path / "out", shards=2, seed=3, mix=MixOptions(real_share=0.5))
    manifest = json.loads(done.manifest.read_text())
    assert manifest["lake_snapshot"] == lake.snapshot_id()
    assert (manifest["options"]["seed"], manifest["options"]["real_share"]) == (3, 0.5)
    assert [file["path"] for file in manifest["files"]] == [
        *("wiki_synthetic_documents-00000-of-00002.parquet", "wiki_synthetic_documents-00001-of-00002.parquet"),
        "README.md",
    ]
    for file in manifest["files"]:
        content = (tmp_path / "out" / file["path"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert sum(file.get("rows", 0) for file in manifest["files"]) == manifest["rows"]
    assert sum(part["tokens"] for part in manifest["parts"]) == manifest["tokens"]
    assert manifest["tokens"] == pytest.approx(sum(file.get("tokens", 0) for file in manifest["files"]))
