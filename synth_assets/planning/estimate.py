"""What a run would ask for and cost, before it costs anything: exact prompt tokens, expected completion tokens.

In: stale partitions, documents from the lake (or, where the seed is stale too, from the file itself), the ledger.
Out: deciding what is stale (`planning.stale`), the judge's calls (`judge_estimate`), and a line of the plan
(`strategy_plan`). Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from resources.answer_lengths import BoughtTokens, bought_tokens
from synth_assets.assets.keys import CURATED, JUDGE_SCORES, table_key
from synth_assets.assets.measured import pace_of
from synth_assets.assets.rephrased import candidates, request_planner
from synth_assets.assets.seed import candidate, read_seed
from synth_assets.core.costing import cost_model
from synth_assets.core.pace import Pace
from synth_assets.core.request_planning import PlannedDocument, SeedDocument, planned_documents
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import rephrased
from synth_assets.planning.judge_estimate import JudgeEstimate
from synth_assets.planning.stale import StalePartition
from synth_assets.planning.strategy_plan import Counts, Prices, StrategyPlan, priced
from synth_assets.project import Project

KEYS_PER_LOOKUP = 4096


@dataclass(frozen=True)
class Estimate:
    """The plan of every strategy by name, and of the judge where it has anything to do."""

    strategies: dict[str, StrategyPlan]
    judge: StrategyPlan | None
    pace: Pace
    """Of the rephraser."""


def estimate_run(project: Project, stale: Sequence[StalePartition]) -> Estimate:
    """What bringing these partitions up to date would ask for. Raises SettingError where a model does not fit."""
    stale_seeds = {item.partition for item in stale if item.asset == CURATED}
    files = {
        strategy.name: [
            str(item.partition)
            for item in stale
            if not item.is_blocked and item.asset == table_key(rephrased(strategy.name))
        ]
        for strategy in project.strategies
    }
    rephrased_files = {name for names in files.values() for name in names}
    only_judged = {
        str(item.partition) for item in stale if item.asset == JUDGE_SCORES and not item.is_blocked
    } - rephrased_files
    if not rephrased_files and not only_judged:
        # Reading the tokenizer and what the ledger has learned takes 0.2 s: for nothing.
        return Estimate({strategy.name: StrategyPlan() for strategy in project.strategies}, None, Pace())
    settings = project.settings
    model = project.rephraser.known_model()
    pace = pace_of(project.lake, model, settings.hardware, settings.requests_in_flight, settings.server_count)
    prices = Prices(cost_model(model).architecture, settings.hardware, settings.requests_in_flight, pace)
    judge = JudgeEstimate(project) if settings.judge_share else None
    plans = {
        strategy.name: _strategy_plan(project, strategy, files[strategy.name], stale_seeds, prices, judge)
        for strategy in project.strategies
    }
    if judge is not None:
        judge.add_files(only_judged - {str(name) for name in stale_seeds})
    return Estimate(plans, judge.plan() if judge else None, pace)


def _strategy_plan(
    project: Project,
    strategy: Strategy,
    files: Sequence[str],
    stale_seeds: set[str | None],
    prices: Prices,
    judge: JudgeEstimate | None,
) -> StrategyPlan:
    if not files:
        return StrategyPlan()
    planner = request_planner(strategy, project.rephraser, project.ledger, project.roots)
    counts = Counts()
    for chunk in _chunks(planned_documents(_documents(project, files, stale_seeds), planner)):
        keys = {planned.request.request_key for document in chunk for planned in document.requests}
        known = bought_tokens(project.lake, list(keys))
        _count(counts, chunk, known)
        if judge is not None:
            judge.add(strategy.name, chunk, known)
    return priced(counts, prices, planner.output_length)


def _count(counts: Counts, documents: Sequence[PlannedDocument], known: Mapping[str, BoughtTokens]) -> None:
    seen: set[str] = set()
    for document in documents:
        counts.documents += 1
        has_missing = False
        for planned in document.requests:
            key = planned.request.request_key
            if key in seen:
                continue
            seen.add(key)
            if key in known:
                counts.answered += 1
                counts.avoided_prompt_tokens += known[key].prompt_tokens
                counts.avoided_completion_tokens += known[key].completion_tokens
            else:
                has_missing = True
                counts.to_generate += 1
                counts.prompt_tokens += planned.estimated_prompt_tokens
                counts.completion_tokens += planned.estimated_completion_tokens
        counts.documents_to_generate += has_missing


def _documents(project: Project, files: Sequence[str], stale_seeds: set[str | None]) -> Iterator[SeedDocument]:
    seen: set[str] = set()
    for name in files:
        if name not in stale_seeds:
            yield from candidates(project.lake, name)
            continue
        for row in read_seed(project.curator, project.lake, project.rephraser, name, project.evaluation_sets.screens()):
            if isinstance(row, dict) and (document := candidate(row, name)):
                if document.document_id not in seen:
                    yield document
                seen.add(document.document_id)


def _chunks(documents: Iterator[PlannedDocument]) -> Iterator[list[PlannedDocument]]:
    """Documents whose requests are looked up together."""
    chunk: list[PlannedDocument] = []
    requests = 0
    for document in documents:
        chunk.append(document)
        requests += len(document.requests)
        if requests >= KEYS_PER_LOOKUP or len(chunk) >= KEYS_PER_LOOKUP:
            yield chunk
            chunk, requests = [], 0
    if chunk:
        yield chunk
