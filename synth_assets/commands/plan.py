"""`synth plan`: files, stale partitions and the bill, before anything is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from resources.errors import SettingError
from resources.generations import read_generations
from resources.inference import ServedModel
from synth_assets.assets.versions import Versions
from synth_assets.cli import emit
from synth_assets.commands.opening import Opened, open_project
from synth_assets.commands.plan_tables import print_bill, print_budget
from synth_assets.core.costing import cost_model
from synth_assets.planning.affordable import what_it_buys
from synth_assets.planning.estimate import estimate_run
from synth_assets.planning.files import file_changes
from synth_assets.planning.run import RunSelection, check_selection, regenerated_strategies
from synth_assets.planning.stale import StalePlanner
from synth_assets.planning.strategy_plan import total_plan

PIPE_WIDTH = 100
"""Columns of a plan that goes into a file: rich takes 80 there, which cuts names and figures short."""


@dataclass(frozen=True)
class BudgetOptions:
    """What `plan` is asked about a budget; the settings hold where an option is not given."""

    max_usd: float | None = None
    max_gpu_hours: float | None = None
    weights: Mapping[str, float] | None = None


def plan_command(
    strategies: tuple[str, ...], files: tuple[str, ...], is_regenerated: bool, as_json: bool, budget: BudgetOptions
) -> None:
    """Print the plan of the selection."""
    opened = open_project(budget.max_usd, budget.max_gpu_hours)
    settings = opened.project.settings
    if budget.weights and settings.max_usd is None and settings.max_gpu_hours is None:
        raise SettingError("--weights divides a budget, and there is none.", "Give --max-usd or --max-gpu-hours.")
    report = make_plan(opened, RunSelection.of(strategies, files), is_regenerated, budget.weights)
    if as_json:
        emit(report)
    else:
        _print(report)


def make_plan(
    opened: Opened,
    selection: RunSelection,
    is_regenerated: bool = False,
    weights: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The plan as `plan --json` prints it; with `is_regenerated` as if the selection's answers were asked for anew.

    `total` is of the strategies; the judge's line is an estimate and stands by itself.
    """
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
    found = estimate_run(project, stale)
    plans, judge, settings = found.strategies, found.judge, project.settings
    model = project.rephraser.known_model()
    has_budget = settings.max_usd is not None or settings.max_gpu_hours is not None
    bought = (
        what_it_buys(plans, judge, settings.hardware, settings.max_usd, settings.max_gpu_hours, weights)
        if has_budget
        else None
    )
    return {
        "model": model.name if model else None,
        "tokenizer": project.rephraser.tokenizer().name,
        "hardware": project.settings.hardware.name,
        "throughput_source": found.pace.source,
        "warning": _warning(model, project.judge.known_model() if judge else None),
        "files": changes.as_dict(),
        "stale": [item.as_dict() for item in stale],
        "strategies": {name: plan.as_dict() for name, plan in plans.items()},
        "total": total_plan(plans.values()),
        "judge": judge.as_dict() if judge else None,
        "total_with_judge": total_plan([*plans.values(), *([judge] if judge else [])]),
        "budget": bought,
    }


def _warning(rephraser: ServedModel | None, judge: ServedModel | None) -> str:
    """What is said of the models that costs are computed for, each sentence once."""
    known = [cost_model(rephraser), *([cost_model(judge)] if judge else [])]
    return "\n".join(dict.fromkeys(each.warning for each in known if each.warning))


def _print(report: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
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
    print_bill(console, report)
    if report["budget"] is not None:
        print_budget(console, report["budget"])
    if report["warning"]:
        Console(stderr=True).print(report["warning"], markup=False, highlight=False)


def _reason(item: dict[str, Any]) -> str:
    return f"blocked by {item['blocked_by']}" if "blocked_by" in item else item["reason"]
