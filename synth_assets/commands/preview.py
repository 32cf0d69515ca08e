"""`synth preview`: a few documents in every strategy, side by side with the source, before anything is run."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from synth_assets.assets.rephrased import request_planner, strategy_code_version
from synth_assets.assets.seed import candidate, read_seed
from synth_assets.commands.opening import open_project
from synth_assets.core.generation import RephrasedDocument, tabulate
from synth_assets.core.request_planning import Drop, SeedDocument, planned_requests
from synth_assets.planning.run import check_strategies
from synth_assets.project import Project

SHOWN_CHARS = 1200


def preview_command(count: int, strategies: tuple[str, ...], files: tuple[str, ...]) -> None:
    """Rephrase the first candidates; answers are kept in the ledger, tables stay as they are."""
    project = open_project().project
    check_strategies(strategies, project.strategies)
    console = Console()
    documents = list(islice(_candidates(project, files), count))
    chosen = [strategy for strategy in project.strategies if not strategies or strategy.name in strategies]
    planners = {
        strategy.name: request_planner(strategy, project.rephraser, project.ledger, project.roots)
        for strategy in chosen
    }
    requests = (request for planner in planners.values() for request in planned_requests(documents, planner))
    with console.status("asking the model"):
        project.purchases.rephrase.buy(requests)
    screens = project.evaluation_sets.screens()
    for document in documents:
        _show(console, f"{document.title}: source, {len(document.text):,} characters", document.text)
        for strategy in chosen:
            results = tabulate(
                [document],
                planners[strategy.name],
                project.ledger,
                project.rephraser.tokenizer(),
                strategy_code_version(strategy),
                screens=(*strategy.gates, *screens),
            )
            for result in results:
                if isinstance(result, RephrasedDocument):
                    _show(console, f"{document.title}: {strategy.name}", result.row["text"])
                elif isinstance(result, Drop):
                    _show(
                        console,
                        f"{document.title}: {strategy.name}",
                        f"dropped: {result.reason}, {result.detail}",
                    )
                else:
                    _show(
                        console,
                        f"{document.title}: {strategy.name}",
                        "no answer; the server refused or failed, or the budget has no room",
                    )


def _candidates(project: Project, files: tuple[str, ...]) -> Iterator[SeedDocument]:
    screens = project.evaluation_sets.screens()
    for name in files or project.curator.files():
        for row in read_seed(project.curator, project.lake, project.rephraser, name, screens, is_alone=True):
            if not isinstance(row, Drop) and (document := candidate(row, name)):
                yield document


def _show(console: Console, title: str, text: str) -> None:
    shown = (
        text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]} … ({len(text) - SHOWN_CHARS:,} more characters)"
    )
    console.print(Panel(Text(shown), title=Text(title), title_align="left"))
