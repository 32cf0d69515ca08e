"""Writes the generated parts of README.md: strategies, settings, commands, tables.

`.venv/bin/python docs/generate.py` rewrites them; `--check` changes nothing and exits with 1 where one is stale. Each
part stands between `<!-- generated: NAME -->` and `<!-- end -->`; everything else of the page is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from synth_assets.cli import main as synth
from synth_assets.core import quality_tables, tables
from synth_assets.core.tables import TableSpec, multistrategy, rephrased
from synth_assets.strategies import discover

README = Path(__file__).resolve().parent.parent / "README.md"
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
        value for part in (tables, quality_tables) for value in vars(part).values() if isinstance(value, TableSpec)
    ]
    specs += [rephrased(strategy.name, "One seed document in that strategy.") for strategy in strategies]
    specs.append(multistrategy(tuple(strategy.name for strategy in strategies)))
    rows = [(spec.name, spec.description, spec.schema.names) for spec in specs]
    rows.append(("ledger.completions", "One answered call of the model, for ever.", LEDGER_COMPLETIONS))
    return _table(
        ("table", "one row is", "columns"),
        [(f"`{name}`", about, ", ".join(f"`{column}`" for column in columns)) for name, about, columns in sorted(rows)],
    )


PARTS: dict[str, Callable[[], str]] = {
    "strategies": strategies_part,
    "settings": settings_part,
    "commands": commands_part,
    "tables": tables_part,
}


def regenerated(page: str) -> str:
    """The page with its generated parts as they should be now."""
    return PART.sub(lambda found: found[1] + PARTS[found[2]]() + found[3], page)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main(arguments: Sequence[str]) -> int:
    """Write the page, or with `--check` only say whether it is as it should be."""
    before = README.read_text(encoding="utf-8")
    after = regenerated(before)
    if after == before:
        return 0
    if "--check" in arguments:
        print("README.md is stale: run .venv/bin/python docs/generate.py", file=sys.stderr)
        return 1
    README.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
