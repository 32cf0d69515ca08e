"""The measured throughput of the model server: sequential first, then at growing concurrency.

In: the measurement as a table, with MFU and MBU for the configured hardware. Out: the client (`resources.throughput`).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pyarrow as pa

from resources.throughput import ThroughputSample, baseline_prompts, measure_throughput
from resources.vllm_resource import VLLMResource
from synth_assets.assets.keys import BASELINE, REPHRASER
from synth_assets.assets.single_runs import materialize_table
from synth_assets.assets.table_metadata import definition_metadata, markdown_table
from synth_assets.assets.versions import RootVersions
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.costing import CostModel, cost_model
from synth_assets.core.hardware import Hardware
from synth_assets.core.tables import BASELINE as BASELINE_TABLE
from synth_assets.core.throughput import mbu, mfu
from synth_assets.reporting.chart_style import markdown_image
from synth_assets.reporting.charts import throughput_chart
from synth_assets.settings import Settings

SEQUENTIAL_PROMPTS = 5
CONCURRENCIES = (4, 16, 64, 256, 1024)
"""Measured after one at a time, as far as the setting for requests in flight allows."""


class BaselineConfig(dg.Config):
    """How much to ask of the server."""

    max_tokens: int = 64
    """Answer length. Short enough that the whole measurement takes a minute at 30 tokens/s, on a CPU."""


@dg.asset(
    key=BASELINE,
    deps=[REPHRASER],
    group_name="serving",
    kinds={"vllm"},
    description=BASELINE_TABLE.description,
    code_version=code_fingerprint(measure_throughput),
    metadata=definition_metadata(BASELINE_TABLE),
)
def baseline(
    context: dg.AssetExecutionContext,
    config: BaselineConfig,
    vllm: VLLMResource,
    roots: dg.ResourceParam[RootVersions],
    settings: dg.ResourceParam[Settings],
) -> dg.MaterializeResult:
    """Ask one after the other, then more and more at once."""

    def build() -> tuple[pa.Table, Mapping[str, Any]]:
        model = vllm.served_model()
        url = vllm.base_urls[0]
        known = cost_model(model)
        rows = []
        for concurrency in _concurrencies(settings.max_parallel_requests):
            prompts = baseline_prompts(max(SEQUENTIAL_PROMPTS, concurrency))
            sample = measure_throughput(url, model.name, prompts, config.max_tokens, concurrency, vllm.api_key())
            context.log.info(f"concurrency {concurrency}: {sample.tokens_per_second:.1f} tokens/s")
            rows.append(_row(sample, model.name, url, settings.hardware, settings.server_count, known))
        table = pa.Table.from_pylist(rows, schema=BASELINE_TABLE.schema)
        plot = markdown_image(throughput_chart(rows))
        metadata = {
            "plot": dg.MetadataValue.md(plot),
            "throughput": markdown_table(table, ("concurrency", "requests", "tokens_per_second", "mfu", "mbu")),
            "sequential_tokens_per_second": rows[0]["tokens_per_second"],
        }
        if known.warning:
            metadata["warning"] = known.warning
        return table, metadata

    return materialize_table(context, BASELINE_TABLE, roots, build)


def _concurrencies(limit: int) -> list[int]:
    return [1, *(n for n in CONCURRENCIES if n <= limit)]


def _row(
    sample: ThroughputSample, model: str, base_url: str, hardware: Hardware, servers: int, known: CostModel
) -> dict[str, Any]:
    # One of the servers was asked: it has its share of the GPUs.
    own = hardware.of(max(1, hardware.count // servers))
    context_tokens = (sample.prompt_tokens + sample.completion_tokens) / max(sample.requests, 1)
    rate = sample.tokens_per_second
    return {
        "model": model,
        "base_url": base_url,
        "hardware": hardware.name,
        "concurrency": sample.concurrency,
        "requests": sample.requests,
        "prompt_tokens": sample.prompt_tokens,
        "completion_tokens": sample.completion_tokens,
        "wall_seconds": sample.wall_seconds,
        "tokens_per_second": rate,
        # The shares of a stand-in would be no measurement.
        "mfu": None if known.warning else mfu(known.architecture, own, rate),
        "mbu": None if known.warning else mbu(known.architecture, own, rate, sample.concurrency, context_tokens),
    }
