"""`synth size`: models beside models and GPUs beside GPUs, before any of them is rented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from resources.errors import SettingError
from resources.hub_config import hub_config
from synth_assets.cli import emit
from synth_assets.commands.opening import open_project
from synth_assets.core.architecture import ModelArchitecture
from synth_assets.core.costing import cost_model
from synth_assets.core.hardware import Hardware
from synth_assets.core.models import DENSE_8B, NEMOTRON_3_NANO, find
from synth_assets.core.sizing import Sizing, cheapest, conclusion, sizing
from synth_assets.project import Project

DEFAULT_REQUESTS = 1000
DEFAULT_PROMPT_TOKENS = 600
DEFAULT_COMPLETION_TOKENS = 400
"""Of one request while the ledger is empty: a passage of 450 tokens with its instructions, rewritten."""


@dataclass(frozen=True)
class SizeOptions:
    """What was asked for; None and empty: not said."""

    models: tuple[str, ...] = ()
    hardware: tuple[str, ...] = ()
    precision: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    concurrency: int | None = None
    requests: int | None = None


@dataclass(frozen=True)
class Demand:
    """The requests to size: how many there are, their mean tokens, and how many are in flight over all GPUs."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    concurrency: int


def size_command(options: SizeOptions, as_json: bool) -> None:
    """Print one row for each model on each hardware, and one sentence of conclusion."""
    report = make_sizes(open_project().project, options)
    if as_json:
        emit(report)
    else:
        _print(report)


def make_sizes(project: Project, options: SizeOptions) -> dict[str, Any]:
    """The comparison as `size --json` prints it. Raises SynthError for a model or hardware that is not known."""
    models, warning = _models(project, options)
    hardware = [_hardware(project, name) for name in options.hardware] or [project.settings.hardware]
    demand = _demand(project, options)
    found: list[Sizing] = []
    rows: list[dict[str, Any]] = []
    for model in models:
        for each in hardware:
            try:
                size = sizing(model, each, demand.prompt_tokens, demand.completion_tokens, demand.concurrency)
            except SettingError as error:
                rows.append({**_identity(model, each), "fits": False, "limit": error.remedy})
                continue
            found.append(size)
            rows.append({**_identity(model, each), "fits": True, **_figures(size, demand.requests)})
    best = cheapest(found)
    return {
        **asdict(demand),
        "rows": rows,
        "conclusion": conclusion(found),
        "critical_batch": f"Its critical batch. {best.critical_batch.explanation}" if best else "",
        "warning": warning,
    }


def _models(project: Project, options: SizeOptions) -> tuple[list[ModelArchitecture], str]:
    warning = ""
    if options.models:
        models = [find(name, config_source=hub_config) for name in options.models]
    elif served := project.rephraser.known_model():
        known = cost_model(served)
        models, warning = [known.architecture], known.warning
    else:
        models = [NEMOTRON_3_NANO, DENSE_8B]
    if options.precision:
        models = [model.at_precision(options.precision) for model in models]
    return models, warning


def _hardware(project: Project, name: str) -> Hardware:
    """COST_GPU_HOUR_USD is the price of the GPU in COST_HARDWARE; for another kind it is the catalogue's."""
    hardware = Hardware.parse(name, setting_name="--hardware")
    configured = project.settings.hardware
    is_same = hardware.gpu == configured.gpu
    return replace(hardware, usd_per_gpu_hour=configured.usd_per_gpu_hour) if is_same else hardware


def _demand(project: Project, options: SizeOptions) -> Demand:
    """What the options say, else what the ledger has seen so far, else the defaults."""
    bought = project.ledger.usage_by_strategy().to_pylist()
    requests = sum(row["requests"] for row in bought)

    def mean(column: str, default: int) -> int:
        return max(1, round(sum(row[column] for row in bought) / requests)) if requests else default

    return Demand(
        options.requests or requests or DEFAULT_REQUESTS,
        options.prompt_tokens or mean("prompt_tokens", DEFAULT_PROMPT_TOKENS),
        options.completion_tokens or mean("completion_tokens", DEFAULT_COMPLETION_TOKENS),
        options.concurrency or project.settings.requests_in_flight,
    )


def _identity(model: ModelArchitecture, hardware: Hardware) -> dict[str, Any]:
    return {
        "model": model.name,
        "hardware": hardware.name,
        "usd_per_gpu_hour": hardware.usd_per_gpu_hour,
        "bits_per_param": 8 * model.bytes_per_param,
        "weight_bytes": model.weight_bytes,
    }


def _figures(size: Sizing, requests: int) -> dict[str, Any]:
    bill = size.bill(requests)
    return {
        "replicas": size.split.replicas,
        "tensor_parallel": size.split.tensor_parallel,
        "memory_bytes": size.memory.total_bytes,
        "max_sequences": size.max_sequences,
        "critical_batch": size.critical_batch.batch,
        "naive_critical_batch": size.critical_batch.naive,
        "critical_batch_explanation": size.critical_batch.explanation,
        "prefill_seconds": size.prefill_seconds,
        "decode_seconds": size.decode_seconds,
        "tokens_per_second": size.output_tokens_per_second,
        "low_tokens_per_second": size.low_tokens_per_second,
        "high_tokens_per_second": size.high_tokens_per_second,
        "mfu": size.mfu,
        "mbu": size.mbu,
        "usd_per_million_output_tokens": size.usd_per_million_output_tokens,
        "gpu_hours": bill.gpu_hours,
        "cost_usd": bill.cost_usd,
        "limit": size.limit,
    }


def _print(report: dict[str, Any]) -> None:
    console = Console()
    console.print(
        f"{report['requests']:,} requests of {report['prompt_tokens']:,} prompt and "
        f"{report['completion_tokens']:,} completion tokens, {report['concurrency']:,} in flight.",
        highlight=False,
    )
    # Names stand above the table: beside its ten figures there is no room for them in 80 columns.
    for number, row in enumerate(report["rows"], start=1):
        console.print(f"{number:2}  {_words(row)}", markup=False, highlight=False)
    table = Table("", *_COLUMNS, box=SIMPLE, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.justify, column.no_wrap = "right", True
    for number, row in enumerate(report["rows"], start=1):
        if row["fits"]:
            table.add_row(str(number), *_cells(row))
    console.print(table)
    console.print(
        "split: replicas x GPUs in tensor parallel. GB: weights, caches and state of one replica. most: sequences that "
        "fit at once. critical: the batch from which arithmetic limits decode (–: none).",
        highlight=False,
    )
    for words in filter(None, (report["conclusion"], report["critical_batch"])):
        console.print(words, markup=False, highlight=False)
    if report["warning"]:
        Console(stderr=True).print(report["warning"], markup=False, highlight=False)


_COLUMNS = ("split", "GB", "most", "critical", "tokens/s", "MFU", "MBU", "$/1M", "GPU-h", "USD")


def _words(row: dict[str, Any]) -> str:
    bits = "" if row["bits_per_param"] == 16 else f" in {row['bits_per_param']:.3g} bits"
    what = f"{row['model']}{bits} on {row['hardware']}"
    if not row["fits"]:
        return f"{what} does not fit: {row['limit'].removeprefix('Accepted: ')}"
    low, high = row["low_tokens_per_second"], row["high_tokens_per_second"]
    return f"{what}: likely {low:,.0f} to {high:,.0f} tokens/s, limited by {row['limit']}"


def _cells(row: dict[str, Any]) -> Sequence[str]:
    return (
        f"{row['replicas']}x{row['tensor_parallel']}",
        f"{row['memory_bytes'] / 1e9:,.3g}",
        f"{row['max_sequences']:,}",
        "–" if row["critical_batch"] is None else f"{row['critical_batch']:,.0f}",
        f"{row['tokens_per_second']:,.0f}",
        f"{row['mfu']:.1%}",
        f"{row['mbu']:.0%}",
        f"{row['usd_per_million_output_tokens']:,.3g}",
        f"{row['gpu_hours']:,.2g}" if row["gpu_hours"] < 10 else f"{row['gpu_hours']:,.0f}",
        f"{row['cost_usd']:,.2f}" if row["cost_usd"] >= 1 else f"{row['cost_usd']:.2g}",
    )
