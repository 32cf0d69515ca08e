"""`synth run` and `synth baseline`: materialize, with progress on standard error and a summary at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from types import TracebackType
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from synth_assets.assets.keys import BASELINE, table_name
from synth_assets.assets.purchases import Purchases
from synth_assets.cli import emit
from synth_assets.commands.opening import Opened, open_project
from synth_assets.core.purchasing import PurchaseReport
from synth_assets.planning.run import QUIET, RunSelection, RunSummary, StaleRunner
from synth_assets.planning.summary import document_count, drops_by_reason

GO_ON = "`synth run` without --regenerate asks for the rest: with it, everything would be asked for once more."


class TerminalProgress:
    """Draws what a run tells: a bar over documents with requests per second and the time left."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task: Any = None
        self._started = 0.0

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, asset: str, partition_count: int) -> None:
        """Name the asset that is materialized now, maybe while answers for it are still bought."""
        files = "" if partition_count == 1 else f" ({partition_count} files)"
        self._console.print(f"  {asset}{files}", highlight=False)

    def begin(self, label: str, total: int) -> None:
        """Start a bar."""
        self.end()
        self._started = time.monotonic()
        self._task = self._bar.add_task(f"  {label}", total=total, rate="")

    def advance(self, count: int = 1) -> None:
        """Advance the bar."""
        if self._task is not None:
            self._bar.advance(self._task, count)

    def bought(self, report: PurchaseReport) -> None:
        """Show requests and requests per second."""
        if self._task is not None:
            rate = report.requests_sent / max(time.monotonic() - self._started, 1e-9)
            text = f"{report.requests_sent} calls, {rate:.1f}/s, {report.answered_from_ledger} from the ledger"
            self._bar.update(self._task, rate=text)

    def end(self) -> None:
        """Take the bar away."""
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None


class Interruption:
    """Whether the process was asked to end, whatever came of the exception that the signal's handler raised.

    Dagster puts handlers of its own in their place while a step runs, and a library below may lose what they raise.
    Python writes each signal to a pipe besides.
    """

    def __init__(self) -> None:
        self._has_come = False
        self._signals, written = os.pipe()
        for end in (self._signals, written):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(written, warn_on_full_buffer=False)

    def has_come(self) -> bool:
        """True from the first Ctrl-C or SIGTERM on."""
        with contextlib.suppress(BlockingIOError):
            self._has_come |= not {signal.SIGINT, signal.SIGTERM}.isdisjoint(os.read(self._signals, 1024))
        return self._has_come


def run_command(
    strategies: tuple[str, ...],
    files: tuple[str, ...],
    is_regenerated: bool,
    as_json: bool,
    max_usd: float | None = None,
    max_gpu_hours: float | None = None,
) -> int:
    """Bring the selection up to date; 0 when everything was done, 1 when something failed or the budget is spent."""
    # SIGTERM ends a run as Ctrl-C does: what is answered is committed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    interruption = Interruption()
    opened = open_project(max_usd, max_gpu_hours)
    try:
        with TerminalProgress() as progress:
            runner = StaleRunner(opened.project, opened.definitions, opened.instance, progress, interruption.has_come)
            summary = runner.run(RunSelection.of(strategies, files), is_regenerated)
    except KeyboardInterrupt:
        if not is_regenerated:
            raise
        click.echo(f"\nStopped. What was answered is kept; {GO_ON}", err=True)
        return 130
    opened.project.ledger.compact_if_needed()
    if as_json:
        emit(_as_json(opened, summary))
    else:
        _print(opened, summary)
    for error in summary.errors:
        click.echo(f"Failed: {error}", err=True)
    _say_what_the_budget_left(opened.project.purchases)
    if is_regenerated and summary.failed:
        click.echo(f"What was answered is kept; {GO_ON}", err=True)
    return 1 if summary.failed or summary.errors else 0


def baseline_command() -> int:
    """Materialize serving.baseline, which no other command does: it costs calls of its own."""
    opened = open_project()
    job = opened.definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={BASELINE})
    result = job.execute_in_process(instance=opened.instance, run_config=QUIET, raise_on_error=True)
    rows = opened.project.lake.read(table_name(BASELINE)).to_pylist()
    for row in rows:
        click.echo(f"concurrency {row['concurrency']:>4}: {row['tokens_per_second']:8.1f} tokens/s")
    return 0 if result.success else 1


def _as_json(opened: Opened, summary: RunSummary) -> dict[str, Any]:
    bought = opened.project.purchases.total()
    return {
        "files": summary.files.as_dict(),
        "generation": summary.generation,
        "requests_sent": bought.requests_sent,
        "answered_from_ledger": bought.answered_from_ledger,
        "prompt_tokens": bought.prompt_tokens,
        "completion_tokens": bought.completion_tokens,
        "materialized": [{"asset": table_name(key), "partition": partition} for key, partition in summary.materialized],
        "failed": [{"asset": table_name(key), "partition": partition} for key, partition in summary.failed],
        "errors": summary.errors,
        "documents": document_count(opened.project.lake),
        "drops": drops_by_reason(opened.project.lake),
        "wall_seconds": round(summary.wall_seconds, 3),
        "budget": _budget_as_json(opened.project.purchases),
    }


def _print(opened: Opened, summary: RunSummary) -> None:
    bought = opened.project.purchases.total()
    drops = drops_by_reason(opened.project.lake)
    click.echo(
        f"{len(summary.materialized)} materialized, {len(summary.failed)} failed, in {summary.wall_seconds:.1f} s. "
        f"{bought.requests_sent} calls sent ({bought.prompt_tokens} prompt and {bought.completion_tokens} completion "
        f"tokens), {bought.answered_from_ledger} answered from the ledger."
    )
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(drops.items())) or "none"
    click.echo(f"{document_count(opened.project.lake)} training documents. Drops: {dropped}.")
    budget = opened.project.purchases.budget
    if budget.is_limited:
        click.echo(f"Spent {budget.spent_usd:.3g} USD, {budget.spent_gpu_hours:.3g} GPU-hours of {budget.limits}.")


def _budget_as_json(purchases: Purchases) -> dict[str, Any] | None:
    budget = purchases.budget
    if not budget.is_limited:
        return None
    return {
        "max_usd": budget.max_usd,
        "max_gpu_hours": budget.max_gpu_hours,
        "spent_usd": budget.spent_usd,
        "spent_gpu_hours": budget.spent_gpu_hours,
        "is_reached": budget.is_reached,
        "missing_answers": [
            {"asset": table, "partition": name, "answers": count}
            for (table, name), count in sorted(purchases.missing_answers.items())
        ],
    }


def _say_what_the_budget_left(purchases: Purchases) -> None:
    """Each table and file that misses answers, with their number."""
    if not purchases.missing_answers:
        return
    end = purchases.budget.end
    click.echo(f"{end[0].upper()}{end[1:]}. What was answered is kept. Missing:", err=True)
    for (table, name), count in sorted(purchases.missing_answers.items()):
        click.echo(f"  {table} {name}: {count:,} answer{'' if count == 1 else 's'}", err=True)
    click.echo(purchases.budget.remedy, err=True)
