"""A lake with made-up figures in every table that the report reads, and the pages that are made of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from resources.lake import Lake, Replacement
from resources.ledger import COMPLETIONS, COMPLETIONS_SCHEMA
from synth_assets.core import tables
from synth_assets.core.bill_tables import ESTIMATES, USAGE, WASTE
from synth_assets.core.quality_tables import NEAR_DUPLICATES, TEXT_QUALITY
from synth_assets.reporting.page import write_report
from tests.reporting.made_up_rows import (
    HARDWARE,
    JUDGE,
    REFERENCE,
    REWRITER,
    STRATEGIES,
    baseline_rows,
    cost_rows,
    drop_rows,
    estimate_rows,
    judge_rows,
    made_up_text,
    near_duplicate_rows,
    perplexity_rows,
    profile_rows,
    quality_rows,
    stored,
    text_quality_rows,
    usage_rows,
    waste_rows,
)
from tests.reporting.parsed_page import HOSTILE, MakeLake, written


def fill(
    lake: Lake,
    *,
    documents: int = 12,
    title: Callable[[int], str] = lambda number: f"River delta {number}",
    opening: str = "",
    rewriter: str = REWRITER,
    references: Sequence[str] = (REFERENCE,),
    judge: str = JUDGE,
    strategies: Sequence[str] = STRATEGIES,
    detail: str = "38 tokens, 50 are the least",
) -> None:
    """Every table that the report reads, with plausible figures that are the same at each call."""
    generator = random.Random(7)
    seed: list[dict[str, Any]] = []
    for number in range(documents):
        length = int(math.exp(generator.uniform(math.log(700), math.log(20_000))))
        text = opening + made_up_text(generator, length)
        seed.append(
            {
                "document_id": f"{number:032x}", "curator_file": f"part-{number % 3}.jsonl", "row_number": number,
                "source_id": str(number), "title": title(number), "text": text, "url": f"https://example.org/{number}",
                "language": "en", "categories": ["Coasts", f"Region {number % 4}"], "file_name": None,
                "char_count": len(text), "token_count": len(text) // 4, "is_duplicate": number % 6 == 5,
                "is_candidate": number % 6 != 4, "rejection_reason": "stub" if number % 6 == 4 else None,
            }
        )  # fmt: skip
    used = [row for row in seed if row["is_candidate"] and not row["is_duplicate"]]
    merged: list[dict[str, Any]] = []
    completions: list[dict[str, Any]] = []
    changes: list[Replacement] = []
    for position, name in enumerate(("original", *strategies)):
        rephrased = []
        for number, row in enumerate(used):
            if name != "original" and (number + position) % 9 == 8:
                continue
            share = 1.0 if name == "original" else 0.25 + 0.15 * position
            text = (
                row["text"] if name == "original" else opening + made_up_text(generator, int(row["char_count"] * share))
            )
            shared = {"document_id": row["document_id"], "curator_file": row["curator_file"], "text": text}
            merged.append(
                {
                    "merged_id": f"{name}-{row['document_id']}", "strategy": name, "title": row["title"],
                    "token_count": len(text) // 4, "char_count": len(text), "segments": [], **shared,
                }
            )  # fmt: skip
            if name != "original":
                tokens = {"prompt_tokens": row["token_count"] + 150, "completion_tokens": len(text) // 4}
                rephrased.append(
                    {
                        "structured": None, "segment_count": 1, "dropped_segment_count": 0, "model": rewriter,
                        "strategy_fingerprint": f"{position:x}" * 32, "segments": [], **tokens, **shared,
                    }
                )  # fmt: skip
                completions.append(
                    {
                        "request_key": f"{name}-{number}", "strategy": name, "document_id": row["document_id"],
                        "segment_index": 0, "model": rewriter, "model_revision": "9f31c0d2", "generation": 0,
                        "cached_prompt_tokens": 0, "wall_seconds": 1.0, "finish_reason": "stop", "completion": text,
                        "created_at": datetime(2026, 3, 1, 12, number % 60, tzinfo=UTC), **tokens,
                    }
                )  # fmt: skip
        if name != "original":
            changes.append(stored(tables.rephrased(name), rephrased))
    answers = pa.Table.from_pylist(completions, schema=COMPLETIONS_SCHEMA)
    changes += [
        Replacement(COMPLETIONS, answers, where=None),
        stored(tables.CURATED_DOCUMENTS, seed),
        stored(tables.PROFILE, profile_rows(seed)),
        stored(tables.MERGED_DOCUMENTS, merged),
        stored(tables.PERPLEXITY, perplexity_rows(generator, merged, references)),
        stored(tables.JUDGE_SCORES, judge_rows(generator, merged, judge)),
        stored(tables.QUALITY, quality_rows(merged, references, judge)),
        stored(tables.COST, cost_rows(completions, rewriter)),
        stored(tables.BASELINE, baseline_rows(rewriter)),
        stored(tables.DROPS, drop_rows(seed, strategies, detail)),
        stored(WASTE, waste_rows(strategies, rewriter, detail)),
        stored(ESTIMATES, estimate_rows(strategies, rewriter)),
        stored(USAGE, usage_rows(rewriter)),
        stored(TEXT_QUALITY, text_quality_rows(generator, merged)),
        stored(NEAR_DUPLICATES, near_duplicate_rows(merged)),
    ]
    lake.replace(changes)


@pytest.fixture(scope="session")
def make_lake() -> Callable[..., Lake]:
    """Opens a lake in a folder; fills it when it is given what with."""

    def make(folder: Path, **filling: Any) -> Lake:
        lake = Lake(f"sqlite:{folder}/catalog.sqlite", str(folder / "data"))
        if filling:
            fill(lake, **filling)
        return lake

    return make


@pytest.fixture
def lake(make_lake: MakeLake, tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


@pytest.fixture(scope="module")
def filled(make_lake: MakeLake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return make_lake(
        tmp_path_factory.mktemp("filled"), documents=24, references=(REFERENCE, "HuggingFaceTB/SmolLM2-135M")
    )


@pytest.fixture(scope="module")
def page(filled: Lake, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(filled, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def hostile_path(make_lake: MakeLake, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = f"model-{HOSTILE}"
    lake = make_lake(
        tmp_path_factory.mktemp("hostile"), documents=6, title=lambda number: f"{number} {HOSTILE}",
        opening=HOSTILE, rewriter=model, references=(model,), judge=model, detail=HOSTILE,
    )  # fmt: skip
    return write_report(lake, tmp_path_factory.mktemp("page"), HARDWARE, {"version": HOSTILE})
