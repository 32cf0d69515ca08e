"""`synth trace`: from a training document back to its source and call, and from a source to what became of it."""

from __future__ import annotations

import io

import pyarrow as pa
import pytest
from rich.console import Console

from resources.lake_write import Replacement
from synth_assets.commands.trace import print_trace, trace, trace_source
from synth_assets.core.quality_tables import NEAR_DUPLICATES, TEXT_QUALITY


@pytest.fixture
def project(workplace):
    return workplace.project()


@pytest.fixture
def stock(make_stock, project):
    filled = make_stock("unused")
    filled.lake = project.lake
    filled.fill(2)
    return filled


def test_a_training_document_leads_to_source_prompt_model_call_and_every_measure(project, stock):
    merged_id = stock.identity("distill", 1)
    who = {"merged_id": merged_id, "strategy": "distill"}
    project.lake.replace(
        [
            Replacement(
                TEXT_QUALITY.name, pa.Table.from_pylist([{**who, "length_ratio": 0.5}], TEXT_QUALITY.schema), {}
            ),
            Replacement(
                NEAR_DUPLICATES.name,
                pa.Table.from_pylist([{**who, "kept_merged_id": "other", "similarity": 0.9}], NEAR_DUPLICATES.schema),
                {},
            ),
        ]
    )
    found = trace(project, merged_id)
    assert found is not None
    assert found["source"]["url"] == "https://example.org/1"
    assert found["document"]["model"] == "tiny-model"
    segment = found["segments"][0]
    assert (segment["call"]["model"], segment["call"]["model_revision"]) == ("tiny-model", "rev-1")
    assert "Condense" in segment["prompt"][0]["content"]
    assert found["measures"]["length_ratio"] == 0.5
    assert found["near_duplicate_of"]["kept_merged_id"] == "other"


def test_a_source_document_leads_to_its_training_documents_and_its_drops(project, stock):
    document_id = stock.identity("document", 0)
    stock.drop(document_id=document_id, curator_file="a.jsonl", strategy="diverse_qa", stage="gates",
               reason="low_quality", detail="repeats itself")  # fmt: skip
    found = trace_source(project, document_id)
    assert found is not None
    assert [row["strategy"] for row in found["training_documents"]] == ["original", "distill", "wiki_rephrase"]
    assert [(row["strategy"], row["reason"]) for row in found["drops"]] == [("diverse_qa", "low_quality")]
    assert found["sources"][0]["path"].endswith("a.jsonl")


def test_an_id_that_nobody_knows_leads_nowhere(project, stock):
    assert trace(project, "nobody") is None
    assert trace_source(project, "nobody") is None


def test_what_looks_like_markup_is_printed_as_it_stands(project, stock):
    document_id = stock.identity("document", 0)
    stock.drop(document_id=document_id, curator_file="a.jsonl", strategy="[red]x", stage="gates", reason="low_quality",
               detail="[/bold] [link=http://x]y[/link]")  # fmt: skip
    printed = io.StringIO()
    print_trace(trace_source(project, document_id), Console(file=printed, width=200))
    assert "[/bold] [link=http://x]y[/link]" in printed.getvalue()
    assert "[red]x: dropped" in printed.getvalue()
