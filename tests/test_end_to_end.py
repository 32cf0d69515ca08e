"""The whole graph against the real engine: vLLM on the CPU with SmolLM2, real tokenizer, real perplexity."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from resources.embedded_vllm import models_dir, prepared_smollm2
from resources.server_state import RunningServer
from synth_assets.definitions import project_defs
from synth_assets.planning.run import RunSelection, StaleRunner
from synth_assets.project import build_project
from synth_assets.settings import SAMPLE_CORPUS, Settings
from synth_assets.strategies.diverse_qa import DiverseQA

pytestmark = pytest.mark.real_server


def test_two_sample_articles_become_training_data_with_quality_and_cost(tmp_path: Path, embedded_server: RunningServer):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    lines = (SAMPLE_CORPUS / "history-and-places.jsonl").read_text().splitlines(keepends=True)
    (corpus / "two.jsonl").write_text("".join(lines[:2]))
    settings = Settings.from_environment(
        {
            "SYNTH_HOME": str(tmp_path / "home"),
            "CURATOR_OUTPUT_DIR": str(corpus),
            "VLLM_BASE_URL": embedded_server.base_url,
            "MAX_OUTPUT_TOKENS": "100",
            "SYNTH_MODELS": str(models_dir()),
            "PERPLEXITY_MODEL": str(prepared_smollm2()),
        }
    )
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        project = build_project(settings)
        summary = StaleRunner(project, project_defs(project), instance).run(RunSelection.of((), ()))
        assert summary.errors == []
        lake = project.lake
        candidates = lake.query("SELECT count(*) n FROM seed.curated_documents WHERE is_candidate")["n"][0].as_py()
        assert candidates == 2

        for strategy in project.strategies:
            rows = lake.read(f"rephrased.{strategy.name}").to_pylist()
            drops = lake.read("ledger.drops", where={"strategy": strategy.name}).to_pylist()
            assert len(rows) + len(drops) == candidates, strategy.name
            assert all(row["text"].strip() and row["completion_tokens"] > 0 for row in rows)
        for row in lake.read("rephrased.diverse_qa").to_pylist():
            DiverseQA.model_validate_json(row["structured"])
        _structured_answers_are_valid_unless_cut(project)

        merged = lake.read("merged.documents").to_pylist()
        scores = {row["merged_id"]: row for row in lake.read("metrics.perplexity").to_pylist()}
        assert {row["merged_id"] for row in merged} == set(scores)
        assert all(row["perplexity"] > 1 and row["bits_per_byte"] > 0 for row in scores.values())
        total = next(row for row in lake.read("reports.cost").to_pylist() if row["strategy"] == "total")
        assert total["requests"] == project.purchases.total().requests_sent > 0
        assert total["estimated_prompt_tokens"] == pytest.approx(total["prompt_tokens"], rel=0.1)
        exported = pq.read_table(settings.exports_dir / "wiki_synthetic_multistrategy.parquet")
        assert exported.num_rows == 2
        assert (settings.reports_dir / "report.html").stat().st_size < 5_000_000

        again = build_project(settings)
        summary = StaleRunner(again, project_defs(again), instance).run(RunSelection.of((), ()))
        assert (summary.materialized, again.purchases.total().requests_sent) == ([], 0)


def _structured_answers_are_valid_unless_cut(project) -> None:
    """What the grammar promises: every answer that was not cut fits the wire schema."""
    strategy = next(strategy for strategy in project.strategies if strategy.wire_model is not None)
    answers = project.lake.read("ledger.completions", where={"strategy": strategy.name}).to_pylist()
    assert answers
    for answer in answers:
        if answer["finish_reason"] == "length":
            continue
        try:
            strategy.wire_model.model_validate(json.loads(answer["completion"]))
        except (ValidationError, json.JSONDecodeError) as error:
            pytest.fail(f"{answer['completion'][:200]}: {error}")
