"""`synth`: a thin layer over the Dagster definitions; whatever it does can be done in the UI as well.

In: options, progress, exit codes, JSON on standard output. Out: doing anything (`planning`, `serving`, `reporting`).
Heavy imports happen inside the commands, so that `--help` and a mistyped option answer at once.
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import warnings
from typing import Any

import click

from synth_assets.cli_errors import ErrorExplainingGroup

# Partitioned backfills in one run are "beta" in Dagster 1.13; a user of this command can do nothing about it.
warnings.filterwarnings("ignore", message=".*currently in (beta|preview)")

# Imports make a million objects that stay; at the default threshold of 700 the collector walks over them again and
# again, which takes a start of 1.1 s to 1.8 s. `open_project` sets what holds for the rest.
gc.set_threshold(1_000_000, 20, 20)


def _overrides(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    if wrong := next((value for value in values if not value.partition("=")[1]), None):
        raise click.BadParameter(
            f"{wrong!r} has no value; write NAME=VALUE, such as --set VLLM_MAX_PARALLEL_REQUESTS=16"
        )
    return {name: value for name, _, value in (text.partition("=") for text in values)}


@click.group(cls=ErrorExplainingGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--set", "overrides", multiple=True, metavar="NAME=VALUE", callback=_overrides,
              help="A setting for this command, in place of the environment's; may be repeated.")  # fmt: skip
def main(overrides: dict[str, str]) -> None:
    """Synthetic pre-training data from a curated corpus: rephrase, measure, cost, export."""
    os.environ.update(overrides)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")


def _names(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def _number(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    # Every comparison with it is false: it lies in every range, and would be a limit that nothing reaches.
    if value is not None and math.isnan(value):
        raise click.BadParameter("nan is no number.")
    return value


selection_options = [
    click.option("--strategies", callback=_names, help="Only these strategies, separated by commas."),
    click.option("--files", callback=_names, help="Only these Curator files, separated by commas."),
]


def _selection(command: Any) -> Any:
    for option in reversed(selection_options):
        command = option(command)
    return command


regenerate_option = click.option(
    "--regenerate", "is_regenerated", is_flag=True, help="Ask anew for the selection's answers; the old ones are kept."
)


_AMOUNT = click.FloatRange(0, math.inf, max_open=True)

budget_options = [
    click.option("--max-usd", type=_AMOUNT, callback=_number, help="Most to spend, in dollars.  [default: MAX_USD]"),
    click.option("--max-gpu-hours", type=_AMOUNT, callback=_number,
                 help="The same in GPU-hours.  [default: MAX_GPU_HOURS]"),
]  # fmt: skip


def _budget(command: Any) -> Any:
    for option in reversed(budget_options):
        command = option(command)
    return command


@main.command()
@_selection
@regenerate_option
@_budget
@click.option("--weights", help="Of the strategies in that budget, such as distill=2,wiki_rephrase=1; others get 0.")
@json_option
def plan(
    strategies: tuple[str, ...],
    files: tuple[str, ...],
    is_regenerated: bool,
    max_usd: float | None,
    max_gpu_hours: float | None,
    weights: str | None,
    as_json: bool,
) -> None:
    """What a run would do, what it would cost, and what a budget would buy of it. Writes nothing."""
    from synth_assets.commands.lake_ahead import open_lake_ahead

    # Before the other imports: on two cores a plan comes 0.2 s sooner.
    open_lake_ahead()
    from synth_assets.commands.plan import BudgetOptions, plan_command
    from synth_assets.core.mixture import parse_weights

    budget = BudgetOptions(max_usd, max_gpu_hours, None if weights is None else parse_weights(weights))
    plan_command(strategies, files, is_regenerated, as_json, budget)


@main.command()
@_selection
@regenerate_option
@_budget
@json_option
def run(
    strategies: tuple[str, ...],
    files: tuple[str, ...],
    is_regenerated: bool,
    max_usd: float | None,
    max_gpu_hours: float | None,
    as_json: bool,
) -> None:
    """Materialize what is stale, and only that; with a budget, as much of it as that pays for."""
    from synth_assets.commands.run import run_command

    sys.exit(run_command(strategies, files, is_regenerated, as_json, max_usd, max_gpu_hours))


@main.command()
@click.option("-n", "count", type=click.IntRange(min=1), default=3, show_default=True, help="Documents to rephrase.")
@_selection
def preview(count: int, strategies: tuple[str, ...], files: tuple[str, ...]) -> None:
    """Rephrase a few documents with every strategy and show them beside the source. Fills no table."""
    from synth_assets.commands.preview import preview_command

    preview_command(count, strategies, files)


@main.command()
@json_option
def status(as_json: bool) -> None:
    """Each asset: partitions materialized, stale, failed; documents; drops by reason."""
    from synth_assets.commands.status import status_command

    status_command(as_json)


@main.command()
@click.argument("sql")
@json_option
def query(sql: str, as_json: bool) -> None:
    """Read-only SQL over the lake, such as "SELECT strategy, count(*) FROM merged.documents GROUP BY 1"."""
    from synth_assets.commands.query import query_command

    query_command(sql, as_json)


@main.command()
def upgrade() -> None:
    """Bring the tables of an earlier release up to date, as the first run does. Keeps every row and asks no model."""
    from synth_assets.commands.upgrade import upgrade_command

    upgrade_command()


@main.command()
def report() -> None:
    """Write the HTML report and print its path."""
    from synth_assets.commands.report import report_command

    report_command()


@main.command()
@click.argument("identity", metavar="ID")
@json_option
def trace(identity: str, as_json: bool) -> None:
    """Everything behind one merged_id: source, segments, prompts, calls, measures; or what became of a document_id."""
    from synth_assets.commands.trace import trace_command

    trace_command(identity, as_json)


@main.command()
@click.argument("directory", type=click.Path(file_okay=False))
@click.option("--format", "file_format", type=click.Choice(["parquet", "jsonl"]), default="parquet", show_default=True)
@click.option("--wide", is_flag=True, help="One row for each seed document, a column for each strategy.")
@click.option("--real-share", type=click.FloatRange(0, 1), help="Share of tokens that are real text, such as 0.4.")
@click.option("--weights", help="Tokens by strategy in proportion, such as wiki_rephrase=2,distill=1; others get 0.")
@click.option("--token-budget", help="Tokens of the whole, such as 500k, 10M or 1.5B.")
@click.option("--max-repeats", type=click.IntRange(min=1), default=1, show_default=True,
              help="How often a document may be repeated where its part is too small for its share.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Of the shuffle and of what a budget cuts off.  [default: 0]")
@click.option("--shards", type=click.IntRange(1, 99_999), help="Files of equal numbers of rows, shuffled.")
@click.option("--keep-near-duplicates", is_flag=True, help="Leave in what merged.near_duplicates lists.")
@json_option
def export(
    directory: str,
    file_format: str,
    wide: bool,
    real_share: float | None,
    weights: str | None,
    token_budget: str | None,
    max_repeats: int,
    seed: int | None,
    shards: int | None,
    keep_near_duplicates: bool,
    as_json: bool,
) -> None:
    """Write the training data to DIRECTORY: everything once, or a shuffled mix where one is asked for."""
    from synth_assets.core.mixture import MixOptions, parse_token_budget, parse_weights

    mix = MixOptions(
        real_share,
        None if weights is None else parse_weights(weights),
        None if token_budget is None else parse_token_budget(token_budget),
        max_repeats,
    )
    if wide and (not mix.is_everything or max_repeats > 1 or seed is not None or shards or keep_near_duplicates):
        raise click.UsageError("--wide writes one row for each seed document: it knows no mix, seed or shards.")
    from synth_assets.commands.export import export_command
    from synth_assets.exporting.long_form import ExportOptions

    export_command(directory, ExportOptions(file_format, mix, seed, shards, keep_near_duplicates), wide, as_json)


@main.command()
def baseline() -> None:
    """Measure the model server: sequential throughput, then growing concurrency (asset serving.baseline)."""
    from synth_assets.commands.run import baseline_command

    sys.exit(baseline_command())


@main.command()
@click.option("--model", "models", multiple=True, help="A model by name or folder; may be repeated.")
@click.option("--hardware", multiple=True, help="GPUs such as 2xL40S; may be repeated.  [default: COST_HARDWARE]")
@click.option("--precision", type=click.Choice(["bf16", "fp8", "int4"]), help="Of weights.  [default: as published]")
@click.option("--prompt-tokens", type=click.IntRange(min=1), help="Mean of a request.  [default: the ledger's, or 600]")
@click.option("--completion-tokens", type=click.IntRange(min=1), help="Mean.  [default: the ledger's, or 400]")
@click.option("--concurrency", type=click.IntRange(min=1), help="In flight.  [default: VLLM_MAX_PARALLEL_REQUESTS]")
@click.option("--requests", type=click.IntRange(min=1), help="To be paid for.  [default: the ledger's, or 1,000]")
@json_option
def size(as_json: bool, **options: Any) -> None:
    """Compare models and GPUs: memory, critical batch, tokens/s, MFU, MBU, dollars, and what limits. Asks no model."""
    from synth_assets.commands.size import SizeOptions, size_command

    size_command(SizeOptions(**options), as_json)


@main.command()
@json_option
def advise(as_json: bool) -> None:
    """What to set the model server to: requests in flight, replicas, tensor parallel, and what limits it now."""
    from synth_assets.commands.advise import advise_command

    advise_command(as_json)


@main.command()
@click.option("--docker", is_flag=True, help="Start a container instead of the embedded server.")
@click.option("--preset", default=None, help="Which server command: see --list.")
@click.option("--list", "is_list", is_flag=True, help="List the presets.")
@click.option("--print", "is_print", is_flag=True, help="Show the exact command instead of running it.")
@click.option("--stop", "is_stop", is_flag=True, help="Stop the server that was started here.")
def serve(docker: bool, preset: str | None, is_list: bool, is_print: bool, is_stop: bool) -> None:
    """Start the model server and wait until it is healthy."""
    from synth_assets.commands.serve import serve_command

    serve_command(docker, preset, is_list, is_print, is_stop)


@main.command()
@click.option("--port", type=int, default=3000, show_default=True)
def ui(port: int) -> None:
    """The Dagster UI and daemon on 127.0.0.1."""
    from synth_assets.commands.ui import ui_command

    sys.exit(ui_command(port))


def emit(value: Any) -> None:
    """Print one JSON value on standard output."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


if __name__ == "__main__":
    main()
