"""Reports over the whole corpus: the bill, quality by strategy, and the HTML page.

In: reducing over all partitions. Out: the arithmetic (`core.cost`, `core.quality`) and the page (`reporting`).
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.lake import Lake
from resources.ledger import Ledger
from resources.model_endpoint import ModelEndpoint
from synth_assets.assets.keys import (
    BASELINE,
    CURATED,
    JUDGE_SCORES,
    MERGED,
    NEAR_DUPLICATES,
    PERPLEXITY,
    TEXT_QUALITY,
)
from synth_assets.assets.single_runs import materialize_table, upstream_tag
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.cost import CostEstimate, estimate, total
from synth_assets.core.costing import cost_model
from synth_assets.core.hardware import Hardware
from synth_assets.core.quality import JUDGE_DIMENSIONS, rank_correlations, summarise, surprising_and_good
from synth_assets.core.tables import COST, QUALITY
from synth_assets.core.tables import JUDGE_SCORES as JUDGE_TABLE
from synth_assets.core.tables import PERPLEXITY as PERPLEXITY_TABLE
from synth_assets.reporting.chart_style import markdown_image
from synth_assets.reporting.charts import cost_chart, perplexity_judge_chart
from synth_assets.reporting.page import template_version, write_report
from synth_assets.reporting.quality_data import pairings
from synth_assets.settings import Settings

COST_KEY = dg.AssetKey(["reports", "cost"])
QUALITY_KEY = dg.AssetKey(["reports", "quality"])
HTML_KEY = dg.AssetKey(["reports", "html"])


@dg.asset(
    key=COST_KEY,
    deps=[MERGED, JUDGE_SCORES],
    group_name="reports",
    kinds={"duckdb"},
    description=COST.description,
    code_version=code_fingerprint(estimate),
    metadata=definition_metadata(COST),
)
def cost(
    context: dg.AssetExecutionContext,
    ledger: dg.ResourceParam[Ledger],
    roots: dg.ResourceParam[RootVersions],
    rephraser: dg.ResourceParam[ModelEndpoint],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """Every bought answer, beside what was expected when it was asked for."""

    def build() -> tuple[pa.Table, Mapping[str, Any]]:
        rows = cost_rows(ledger.usage_by_strategy().to_pylist(), rephraser, settings.hardware)
        plot = markdown_image(cost_chart(rows))
        metadata = {"plot": dg.MetadataValue.md(plot), "cost_usd": rows[-1]["cost_usd"]}
        if warning := cost_model(rephraser.known_model()).warning:
            metadata["warning"] = warning
        return pa.Table.from_pylist(rows, schema=COST.schema), metadata

    return materialize_table(context, COST, roots, build)


def cost_rows(usage: list[dict[str, Any]], rephraser: ModelEndpoint, hardware: Hardware) -> list[dict[str, Any]]:
    """One row for each strategy and model in the ledger, then `total`; actual tokens beside expected ones."""
    arch = cost_model(rephraser.known_model()).architecture
    rows, actuals, expected = [], [], []
    for used in usage:
        actual = estimate(arch, hardware, used["requests"], used["prompt_tokens"], used["completion_tokens"])
        before = estimate(
            arch,
            hardware,
            used["requests"],
            used["estimated_prompt_tokens"],
            used["estimated_completion_tokens"],
        )
        actuals.append(actual)
        expected.append(before)
        rows.append(_cost_row(used["strategy"], used["model"], hardware, actual, before))
    rows.append(_cost_row("total", None, hardware, total(actuals), total(expected)))
    return rows


def _cost_row(
    strategy: str, model: str | None, hardware: Hardware, actual: CostEstimate, before: CostEstimate
) -> dict[str, Any]:
    names = ("requests", "prompt_tokens", "completion_tokens", "flops", "gpu_hours", "cost_usd")
    return {
        "strategy": strategy,
        "model": model,
        "hardware": hardware.name,
        **{name: getattr(actual, name) for name in names},
        **{f"estimated_{name}": getattr(before, name) for name in names},
    }


@dg.asset(
    key=QUALITY_KEY,
    deps=[PERPLEXITY, JUDGE_SCORES],
    group_name="reports",
    kinds={"duckdb"},
    description=QUALITY.description,
    code_version=code_fingerprint(summarise),
    metadata=definition_metadata(QUALITY),
)
def quality(
    context: dg.AssetExecutionContext, lake: dg.ResourceParam[Lake], roots: dg.ResourceParam[RootVersions]
) -> dg.MaterializeResult:
    """Perplexity beside judge scores, and which texts are surprising and yet good."""
    return materialize_table(context, QUALITY, roots, lambda: _quality(lake))


@dg.asset(
    key=HTML_KEY,
    deps=[COST_KEY, QUALITY_KEY, CURATED, MERGED, TEXT_QUALITY, NEAR_DUPLICATES, BASELINE],
    group_name="reports",
    kinds={"html"},
    description="The report: one HTML file under SYNTH_HOME/reports that opens offline.",
    code_version=f"{code_fingerprint(write_report)}-{template_version()}",
)
def html(
    context: dg.AssetExecutionContext,
    lake: dg.ResourceParam[Lake],
    roots: dg.ResourceParam[RootVersions],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """Write the page; a reader sees the old one or the new one."""
    tags = upstream_tag(context, roots, HTML_KEY)
    versions = {"curator folder": str(settings.curator_output_dir)}
    path = write_report(lake, settings.reports_dir, settings.hardware.name, versions)
    metadata = {"path": dg.MetadataValue.path(str(path)), "size_bytes": path.stat().st_size}
    return dg.MaterializeResult(metadata=metadata, tags=tags)


_NUMBERS = ["merged_id", "document_id", "strategy"]


def _quality(lake: Lake) -> tuple[pa.Table, Mapping[str, Any]]:
    """The summary, its correlations, and a picture for each reference model and judge."""
    scored = lake.read(PERPLEXITY_TABLE.name, columns=[*_NUMBERS, "reference_model", "perplexity", "bits_per_byte"])
    judged = lake.read(
        JUDGE_TABLE.name,
        schema=pa.schema([JUDGE_TABLE.schema.field(name) for name in (*_NUMBERS, "judge_model", *JUDGE_DIMENSIONS)]),
    )
    rows = [asdict(row) for row in summarise(scored, judged)]
    metadata: dict[str, Any] = {
        "which texts are surprising and yet good": surprising_and_good(scored, judged).answer,
        "rank correlations": dg.MetadataValue.json([asdict(row) for row in rank_correlations(scored, judged)]),
    }
    for pairing in pairings(lake):
        plot = markdown_image(perplexity_judge_chart(pairing.documents, pairing.means))
        metadata[f"plot: {pairing.reference_model}, judged by {pairing.judge_model}"] = dg.MetadataValue.md(plot)
    return pa.Table.from_pylist(rows, schema=QUALITY.schema), metadata
