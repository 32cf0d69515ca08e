"""`synth plan`: files, stale partitions and the bill, before anything is done."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from resources.generations import read_generations
from synth_assets.assets.versions import Versions
from synth_assets.cli import emit
from synth_assets.commands.opening import Opened, open_project
from synth_assets.core.costing import cost_model
from synth_assets.planning.estimate import estimate_strategies, total_plan
from synth_assets.planning.files import file_changes
from synth_assets.planning.run import RunSelection, check_selection, regenerated_strategies
from synth_assets.planning.stale import StalePlanner


def plan_command(strategies: tuple[str, ...], files: tuple[str, ...], is_regenerated: bool, as_json: bool) -> None:
    """Print the plan of the selection."""
    opened = open_project()
    report = make_plan(opened, RunSelection.of(strategies, files), is_regenerated)
    if as_json:
        emit(report)
    else:
        _print(report)


def make_plan(opened: Opened, selection: RunSelection, is_regenerated: bool = False) -> dict[str, Any]:
    """The plan as `plan --json` prints it; with `is_regenerated` as if the selection's answers were asked for anew."""
    project = opened.project
    versions = Versions(opened.history, opened.graph, project.roots)
    changes = file_changes(versions)
    check_selection(selection, changes, project.strategies)
    if is_regenerated:
        names = regenerated_strategies(selection, project.strategies)
        project.roots.assume(read_generations(project.lake).with_next(names, selection.files))
    planned = versions.with_partitions({*changes.new, *changes.changed, *changes.unchanged})
    planner = StalePlanner(opened.graph, planned, project.lake, selection.excluded_assets)
    stale = [item for item in planner.everything() if selection.takes(item)]
    plans = estimate_strategies(project, stale)
    model = project.rephraser.known_model()
    return {
        "model": model.name if model else None,
        "tokenizer": project.rephraser.tokenizer().name,
        "hardware": project.settings.hardware.name,
        "warning": cost_model(model).warning,
        "files": changes.as_dict(),
        "stale": [item.as_dict() for item in stale],
        "strategies": {name: plan.as_dict() for name, plan in plans.items()},
        "total": total_plan(plans),
    }


def _print(report: dict[str, Any]) -> None:
    console = Console()
    files = report["files"]
    console.print("Files: " + ", ".join(f"{len(names)} {kind}" for kind, names in files.items()), highlight=False)
    for kind in ("new", "changed", "deleted"):
        for name in files[kind][:10]:
            console.print(f"  {kind}: {name}", markup=False, highlight=False)
    stale = Counter((item["asset"], _reason(item)) for item in report["stale"])
    if not stale:
        console.print("Nothing is stale.")
    else:
        table = Table("stale asset", "reason", "partitions", box=SIMPLE)
        for (asset, reason), count in stale.items():
            table.add_row(asset, reason, str(count))
        console.print(table)
    _print_bill(console, report)


def _reason(item: dict[str, Any]) -> str:
    return f"blocked by {item['blocked_by']}" if "blocked_by" in item else item["reason"]


def _print_bill(console: Console, report: dict[str, Any]) -> None:
    table = Table(
        "strategy",
        "docs",
        "calls",
        "ledger",
        "prompt",
        "completion",
        "FLOPs",
        "GPU-h",
        "USD",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for name, row in [*report["strategies"].items(), ("total", report["total"])]:
        table.add_row(
            name,
            "" if name == "total" else f"{row['documents']:,}",
            f"{row['to_generate']:,}",
            f"{row['answered_from_ledger']:,}",
            f"{row['prompt_tokens']:,}",
            f"{row['completion_tokens']:,}",
            f"{row['flops']:.1e}",
            f"{row['gpu_hours']:.2g}",
            f"{row['cost_usd']:.2f}" if row["cost_usd"] >= 1 else f"{row['cost_usd']:.2g}",
        )
    console.print(table)
    model = report["model"] or "no model known yet: `synth serve` starts one"
    console.print(
        f"Model: {model}. Tokens counted by {report['tokenizer']}. Hardware: {report['hardware']}.", highlight=False
    )
    if report["warning"]:
        Console(stderr=True).print(report["warning"], markup=False, highlight=False)
