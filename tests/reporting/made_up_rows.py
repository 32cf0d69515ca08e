"""Rows with made-up and plausible figures for every table that the report reads."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from resources.lake import Replacement
from synth_assets.core import tables
from synth_assets.core.quality_tables import TEXT_QUALITY

STRATEGIES = ("wiki_rephrase", "diverse_qa", "distill", "knowledge_extract", "knowledge_list")
REWRITER, REFERENCE, JUDGE = "SmolLM2-135M-Instruct", "openai-community/gpt2", "Qwen3-8B"
HARDWARE = "4xH100-SXM"
WORDS = (
    "river", "delta", "carries", "fine", "sediment", "toward", "shallow", "coast", "where", "tides", "sort", "sand",
    "from", "clay", "slow", "currents", "build", "bars", "that", "shelter", "young", "marsh", "grass", "through",
)  # fmt: skip


def made_up_text(generator: random.Random, characters: int) -> str:
    words = []
    while sum(map(len, words)) + len(words) < characters:
        words.append(generator.choice(WORDS))
    text = " ".join(words)
    return text[:characters].capitalize() + "."


def stored(spec: tables.TableSpec, rows: Sequence[dict[str, Any]]) -> Replacement:
    return Replacement(spec.name, pa.Table.from_pylist(list(rows), schema=spec.schema), where=None)


def profile_rows(seed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for file in (None, *sorted({row["curator_file"] for row in seed})):
        chosen = [row for row in seed if file in (None, row["curator_file"])]
        lengths = sorted(row["char_count"] for row in chosen)
        names = sorted({name for row in chosen for name in row["categories"]})
        rows.append(
            {
                "curator_file": file, "document_count": len(chosen),
                "candidate_count": sum(row["is_candidate"] for row in chosen),
                "duplicate_count": sum(row["is_duplicate"] for row in chosen),
                "mean_chars": sum(lengths) / len(lengths),
                "median_chars": float(lengths[len(lengths) // 2]), "min_chars": lengths[0], "max_chars": lengths[-1],
                "std_chars": 4000.0, "char_count": sum(lengths), "token_count": sum(lengths) // 4,
                "categories": [
                    {"category": name, "document_count": sum(name in row["categories"] for row in chosen)}
                    for name in names
                ],
            }
        )  # fmt: skip
    return rows


def perplexity_rows(
    generator: random.Random, merged: list[dict[str, Any]], references: Sequence[str]
) -> list[dict[str, Any]]:
    rows = []
    for index, model in enumerate(references):
        for row in merged:
            middle = 2.6 + 0.15 * (len(row["strategy"]) % 6) + 2 * index
            perplexity = math.exp(generator.gauss(middle, 0.35))
            rows.append(
                {
                    **identity(row), "reference_model": model, "perplexity": perplexity,
                    "bits_per_byte": math.log2(perplexity) / 4.2, "token_count": row["token_count"],
                    "negative_log_likelihood": math.log(perplexity) * row["token_count"],
                    "byte_count": row["char_count"],
                }
            )  # fmt: skip
    return rows


def judge_rows(generator: random.Random, merged: list[dict[str, Any]], judge: str) -> list[dict[str, Any]]:
    def score() -> float:
        return float(min(5, max(1, round(generator.gauss(4.1, 0.8)))))

    return [
        {
            **identity(row), "judge_model": judge, "coherence": score(), "faithfulness": score(),
            "information_density": score(), "coherence_reasoning": "It holds together.",
            "faithfulness_reasoning": "Each statement is in the source.", "information_density_reasoning": "Dense.",
            "part_count": 1, "prompt_tokens": 400, "completion_tokens": 80,
        }
        for row in merged
    ]  # fmt: skip


def text_quality_rows(generator: random.Random, merged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def made(row: dict[str, Any]) -> dict[str, Any]:
        if row["strategy"] == "original":
            return {}
        return {
            "length_ratio": generator.uniform(0.2, 1.1), "novel_4gram_share": generator.random(),
            "copied_share": generator.random(), "kept_number_share": generator.random(),
            "invented_number_count": generator.randrange(1, 5), "kept_name_share": generator.random(),
            "invented_name_count": generator.randrange(1, 5), "is_language_kept": True,
        }  # fmt: skip

    return [
        {
            **dict.fromkeys(TEXT_QUALITY.schema.names), **identity(row), "compression_ratio": generator.uniform(1.5, 3),
            "duplicate_line_share": 0.0, "top_3gram_share": 0.01, "opening_share": generator.random(), **made(row),
        }
        for row in merged
    ]  # fmt: skip


def near_duplicate_rows(merged: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first distilled text, as if it copied its source."""
    copy = next((row for row in merged if row["strategy"] == "distill"), None)
    if copy is None:
        return []
    kept = {"kept_merged_id": f"original-{copy['document_id']}", "kept_strategy": "original", "similarity": 0.93}
    return [{**identity(copy), **kept}]


def quality_rows(merged: list[dict[str, Any]], references: Sequence[str], judge: str) -> list[dict[str, Any]]:
    return [
        {
            "strategy": name, "document_count": sum(row["strategy"] == name for row in merged),
            "reference_model": model,
            "mean_perplexity": 17.25, "median_perplexity": 15.5, "mean_bits_per_byte": 0.953, "judged_count": 8,
            "judge_model": judge, "mean_coherence": 4.12, "mean_faithfulness": 3.98, "mean_information_density": 3.5,
            "surprising_and_good_count": 2,
        }
        for model in references
        for name in sorted({row["strategy"] for row in merged})
    ]  # fmt: skip


def cost_rows(completions: list[dict[str, Any]], model: str) -> list[dict[str, Any]]:
    def bill(strategy: str, model: str | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
        prompt, completion = (sum(row[name] for row in rows) for name in ("prompt_tokens", "completion_tokens"))
        gpu_hours = completion / 9_000_000
        actual = {
            "requests": len(rows), "prompt_tokens": prompt, "completion_tokens": completion,
            "flops": 3.2e9 * (prompt + completion), "gpu_hours": gpu_hours, "cost_usd": gpu_hours * 2.69,
        }  # fmt: skip
        before = {f"estimated_{name}": type(value)(value * 1.2) for name, value in actual.items()}
        used = {"cached_prompt_tokens": prompt // 8, "wasted_cost_usd": actual["cost_usd"] / 10}
        return {"strategy": strategy, "model": model, "hardware": HARDWARE, **actual, **before, **used}

    names = sorted({row["strategy"] for row in completions})
    rows = [bill(name, model, [row for row in completions if row["strategy"] == name]) for name in names]
    return [*rows, bill("total", None, completions)]


def baseline_rows(model: str) -> list[dict[str, Any]]:
    return [
        {
            "model": model, "base_url": "http://127.0.0.1:8000/v1", "hardware": HARDWARE, "concurrency": in_flight,
            "requests": max(5, in_flight), "prompt_tokens": 200, "completion_tokens": 64 * max(5, in_flight),
            "wall_seconds": 9.5, "tokens_per_second": 34 * in_flight**0.6, "mfu": 0.0021, "mbu": 0.013,
        }
        for in_flight in (1, 4, 16, 64)
    ]  # fmt: skip


def waste_rows(strategies: Sequence[str], model: str, detail: str) -> list[dict[str, Any]]:
    return [
        {
            "strategy": name, "model": model, "kind": kind, "reason": reason, "requests": 3 - place,
            "prompt_tokens": 900, "completion_tokens": 200, "gpu_hours": 0.001, "cost_usd": 0.003 - 0.001 * place,
        }
        for name in strategies
        for place, (kind, reason) in enumerate((("dropped", "too_short"), ("failed", detail)))
    ]  # fmt: skip


def estimate_rows(strategies: Sequence[str], model: str) -> list[dict[str, Any]]:
    return [
        {
            "strategy": name, "model": model, "answers_before": before, "requests": 20, "completion_tokens": 1000,
            "estimated_completion_tokens": 1000 + error, "prompt_tokens": 3000, "estimated_prompt_tokens": 3010,
            "relative_error": error / 1000,
        }
        for name in strategies
        for before, error in ((0, 800), (20, 120), (100, -30))
    ]  # fmt: skip


def usage_rows(model: str, purchases: int = 25) -> list[dict[str, Any]]:
    return [
        {
            "started_at": datetime(2026, 3, 1, 12, number, tzinfo=UTC), "model": model,
            "base_urls": "http://127.0.0.1:8000/v1", "hardware": HARDWARE, "requests": 100 + number,
            "prompt_tokens": 60_000, "cached_prompt_tokens": 8_000, "completion_tokens": 20_000, "wall_seconds": 61.5,
            "mean_in_flight": 15.2, "tokens_per_second": 325.0, "mfu": 0.004, "mbu": 0.03,
            "utilization_source": "computed",
        }
        for number in range(purchases)
    ]  # fmt: skip


def drop_rows(seed: list[dict[str, Any]], strategies: Sequence[str], detail: str) -> list[dict[str, Any]]:
    early = [
        {**identity(row), "strategy": None, "stage": "seed", "reason": reason, "detail": None}
        for row in seed
        for reason, is_dropped in (("duplicate", row["is_duplicate"]), ("not_a_candidate", not row["is_candidate"]))
        if is_dropped
    ]
    late = [
        {**identity(row), "strategy": name, "stage": "rephrase", "reason": reason, "detail": detail}
        for position, (name, reason) in enumerate(
            zip(strategies, ("too_short", "truncated", "invalid_schema"), strict=False)
        )
        for row in seed[: position + 1]
    ]
    return [{**row, "row_number": 1, "created_at": datetime(2026, 3, 1, tzinfo=UTC)} for row in (*early, *late)]


def identity(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in ("merged_id", "document_id", "curator_file", "strategy")}
