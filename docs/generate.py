"""Writes the generated parts of README.md (strategies, settings, commands, tables) and docs/cost.md (public figures).

`.venv/bin/python docs/generate.py` rewrites them; `--check` changes nothing and exits with 1 where one is stale. Each
part stands between `<!-- generated: NAME -->` and `<!-- end -->`; everything else of a page is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from resources.failed_calls import FAILURES, FAILURES_SCHEMA
from synth_assets.cli import main as synth
from synth_assets.core import bill_tables, quality_tables, tables
from synth_assets.core.hardware import GPUS
from synth_assets.core.models import CATALOGUE
from synth_assets.core.public_figures import comparisons
from synth_assets.core.tables import TableSpec, multistrategy, rephrased
from synth_assets.strategies import discover

README = Path(__file__).resolve().parent.parent / "README.md"
COST_PAGE = Path(__file__).resolve().parent / "cost.md"
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

LEDGER_COMPLETIONS = (
    "request_key",
    "strategy",
    "document_id",
    "segment_index",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "finish_reason",
    "completion",
    "created_at",
)
"""The columns that others may rest on; the table itself is defined in `resources.ledger`."""

SETTINGS: Sequence[tuple[str, str, str]] = [
    (
        "CURATOR_OUTPUT_DIR",
        "the sample corpus in the package",
        "folder of Curator outputs: `*.jsonl`, `*.jsonl.gz`, `*.parquet`, also in subfolders; or `s3://bucket/prefix` "
        "(`gs://`, `abfs://`), with the usual `AWS_…` variables",
    ),
    (
        "CURATOR_ASSET",
        "none",
        "asset key (`curator/deduplicated`) of a Curator that runs in Dagster: adds a sensor",
    ),
    (
        "SYNTH_HOME",
        "`.synth` in the current folder",
        "everything that is written: `lake/`, `dagster/`, `reports/`, `exports/`, logs",
    ),
    ("LAKE_CATALOG", "`sqlite:$SYNTH_HOME/lake/catalog.sqlite`", "or `postgres:dbname=… host=…`"),
    ("LAKE_DATA_PATH", "`$SYNTH_HOME/lake/data`", "or `s3://…`, with the usual `AWS_…` variables"),
    (
        "VLLM_BASE_URL",
        "`http://127.0.0.1:8000/v1`",
        "OpenAI-compatible server that rephrases; several, separated by commas",
    ),
    ("VLLM_MODEL", "what the server lists, if it serves just one", "model name"),
    ("VLLM_API_KEY", "none", "never printed or stored"),
    ("VLLM_MAX_PARALLEL_REQUESTS", "64", "requests in flight per server"),
    ("JUDGE_MODEL", "`VLLM_MODEL`", "model that judges; a stronger or an independent one is better"),
    ("JUDGE_BASE_URL", "`VLLM_BASE_URL`", "its server"),
    ("JUDGE_API_KEY", "none", "the key of another judge server, which is never given `VLLM_API_KEY`"),
    (
        "MAX_OUTPUT_TOKENS",
        "each strategy's own",
        "caps the free-text answers of every strategy, for slow servers; structured answers keep their limit",
    ),
    ("KEEP_MARKDOWN", "0", "`1` leaves the Markdown of answers as it is; changing it costs no call"),
    (
        "SOURCE_BEFORE_QUESTIONS",
        "0",
        "`1` puts each passage before its questions and answers, as Nemotron-CC does; changing it costs no call",
    ),
    ("JUDGE_SHARE", "1", "share of the documents that is judged, from 0 to 1"),
    (
        "PERPLEXITY_MODEL",
        "`openai-community/gpt2` if it can be had, else the embedded SmolLM2 with a warning",
        "hub name or local folder; each row of `metrics.perplexity` names its model",
    ),
    ("SYNTH_MODELS", "`~/.cache/synth_assets/models`", "prepared weights, shared by all projects of a user"),
    ("SYNTH_VLLM_VENV", "`.venv-vllm` beside `.venv`", "virtual environment of the embedded vLLM"),
    (
        "EVALUATION_SETS",
        "none",
        "folder of evaluation sets (`*.jsonl`, `*.jsonl.gz`, `*.parquet`, also in subfolders): documents and texts "
        "that share a run of words with one are dropped",
    ),
    ("DECONTAMINATION_NGRAM", "13", "words of such a run, from 8 to 13"),
    ("COST_HARDWARE", "`4xH100-SXM`", "what costs are computed for: `2xL40S`, `8xH200-SXM`, …"),
    ("COST_GPU_HOUR_USD", "the catalogue's", "price of one GPU-hour in dollars"),
    ("MAX_USD", "none", "most that one run may spend, of rephraser and judge together, by the plan's prices"),
    ("MAX_GPU_HOURS", "none", "the same in GPU-hours; where both are set, the tighter one holds"),
]
"""Name, default and meaning; a test checks that the code reads each of them, and no others."""


def strategies_part() -> str:
    """The strategies that discovery finds."""
    rows = [
        (
            f"`{strategy.name}`",
            strategy.description,
            "JSON checked against a schema, and text" if strategy.wire_model else "text",
            str(strategy.limits.max_input_tokens),
            str(strategy.limits.max_output_tokens),
        )
        for strategy in discover()
    ]
    return _table(("strategy", "gives", "answer", "input tokens", "output tokens"), rows)


def settings_part() -> str:
    """The settings."""
    return _table(("name", "default", "meaning"), [(f"`{name}`", *rest) for name, *rest in SETTINGS])


def commands_part() -> str:
    """The commands and their options, as `--help` has them."""
    rows = []
    for name, command in sorted(synth.commands.items()):
        arguments = [str(p.metavar or p.name).upper() for p in command.params if p.param_type_name == "argument"]
        options = [f"`{p.opts[0]}`" for p in command.params if p.param_type_name == "option"]
        usage = " ".join(["synth", name, *arguments])
        rows.append((f"`{usage}`", (command.help or "").replace("\n", " "), ", ".join(options)))
    return _table(("command", "does", "options"), rows)


def tables_part() -> str:
    """Every table with its columns."""
    strategies = discover()
    specs: list[TableSpec] = [
        value
        for part in (tables, quality_tables, bill_tables)
        for value in vars(part).values()
        if isinstance(value, TableSpec)
    ]
    specs += [rephrased(strategy.name, "One seed document in that strategy.") for strategy in strategies]
    specs.append(multistrategy(tuple(strategy.name for strategy in strategies)))
    rows = [(spec.name, spec.description, spec.schema.names) for spec in specs]
    rows.append(("ledger.completions", "One answered call of the model, for ever.", LEDGER_COMPLETIONS))
    rows.append((FAILURES, "One call of the model that was given up without an answer.", FAILURES_SCHEMA.names))
    return _table(
        ("table", "one row is", "columns"),
        [(f"`{name}`", about, ", ".join(f"`{column}`" for column in columns)) for name, about, columns in sorted(rows)],
    )


def models_part() -> str:
    """The models that are known by name."""
    rows = [
        (
            f"[{model.name}]({model.source.split(' ')[0]})",
            _count(model.total_params),
            _count(model.active_params),
            f"{model.experts_per_token} of {model.experts}" if model.is_moe else "",
            f"{model.kv_bytes_per_token / 1e3:,.0f}" + (" (windows)" if model.windowed_layers else ""),
            f"{model.recurrent_state_bytes / 1e6:,.0f}" if model.recurrent_state_bytes else "",
            f"{model.weight_bytes / 1e9:,.3g}",
        )
        for model in CATALOGUE
    ]
    head = ("model", "parameters", "active", "experts a token", "KV cache, KB a token", "state, MB", "weights, GB")
    return _table(head, rows)


def hardware_part() -> str:
    """The GPUs that costs can be computed for."""
    rows = [
        (
            f"[{gpu.name}]({gpu.source})",
            f"{gpu.bf16_flops_per_second / 1e12:,.0f}",
            f"{gpu.fp8_flops_per_second / 1e12:,.0f}" if gpu.fp8_flops_per_second else "–",
            f"{gpu.bandwidth_bytes_per_second / 1e12:,.3g}",
            f"{gpu.memory_bytes / 1e9:,.0f}",
            f"{gpu.link_bytes_per_second / 1e9:,.0f}",
            f"{gpu.usd_per_hour:.2f}",
        )
        for gpu in GPUS
    ]
    return _table(("GPU", "bf16, TFLOP/s", "FP8", "memory, TB/s", "GB", "link, GB/s", "$ an hour"), rows)


def public_figures_part() -> str:
    """Published throughput against ours."""
    rows = [
        (
            each.figure.model,
            each.figure.hardware,
            str(each.figure.sequences),
            f"{each.figure.tokens_per_second_per_gpu:,.0f}",
            f"{each.predicted:,.0f}",
            f"{each.error:+.0%}" + (f" ({each.figure.note})" if each.figure.note else ""),
        )
        for each in comparisons()
    ]
    return _table(("model", "hardware", "sequences", "public, tokens/s a GPU", "predicted", "error"), rows)


def _count(params: float) -> str:
    return f"{params / 1e9:,.3g} B" if params >= 1e9 else f"{params / 1e6:,.0f} M"


PARTS: dict[str, Callable[[], str]] = {
    "strategies": strategies_part,
    "settings": settings_part,
    "commands": commands_part,
    "tables": tables_part,
}
"""Of README.md."""

COST_PARTS: dict[str, Callable[[], str]] = {
    "models": models_part,
    "hardware": hardware_part,
    "public_figures": public_figures_part,
}
"""Of docs/cost.md."""


def regenerated(page: str) -> str:
    """The page with its generated parts as they should be now."""
    parts = PARTS | COST_PARTS
    return PART.sub(lambda found: found[1] + parts[found[2]]() + found[3], page)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` only say whether they are as they should be."""
    is_stale = False
    for page in (README, COST_PAGE):
        before = page.read_text(encoding="utf-8")
        after = regenerated(before)
        if after == before:
            continue
        if "--check" in arguments:
            print(f"{page.name} is stale: run .venv/bin/python docs/generate.py", file=sys.stderr)
            is_stale = True
        else:
            page.write_text(after, encoding="utf-8")
    return int(is_stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
