"""What a run would ask for and cost, before it costs anything: exact prompt tokens, expected completion tokens.

In: stale partitions, documents from the lake (or, where the seed is stale too, from the file itself), the ledger.
Out: deciding what is stale (`planning.stale`). Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from synth_assets.assets.keys import CURATED, table_key
from synth_assets.assets.rephrased import candidates, request_planner
from synth_assets.assets.seed import read_seed
from synth_assets.core.cost import CostEstimate, estimate
from synth_assets.core.costing import cost_model
from synth_assets.core.request_planning import PlannedRequest, SeedDocument, planned_requests
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import rephrased
from synth_assets.planning.stale import StalePartition
from synth_assets.project import Project

KEYS_PER_LOOKUP = 4096


@dataclass(frozen=True)
class StrategyPlan:
    """What one strategy would ask for: counts of requests, tokens and money for those not in the ledger."""

    to_generate: int = 0
    answered_from_ledger: int = 0
    documents: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    flops: float = 0.0
    gpu_hours: float = 0.0
    cost_usd: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The form that `plan --json` prints."""
        return asdict(self)


def estimate_strategies(project: Project, stale: Sequence[StalePartition]) -> dict[str, StrategyPlan]:
    """The plan of every strategy for the partitions of it that are stale."""
    stale_seeds = {item.partition for item in stale if item.asset == CURATED}
    plans = {}
    for strategy in project.strategies:
        files = [
            str(item.partition)
            for item in stale
            if not item.is_blocked and item.asset == table_key(rephrased(strategy.name))
        ]
        plans[strategy.name] = _strategy_plan(project, strategy, files, stale_seeds)
    return plans


def total_plan(plans: dict[str, StrategyPlan]) -> dict[str, Any]:
    """Sums over the strategies."""
    rows = [plan.as_dict() for plan in plans.values()]
    return {name: sum(row[name] for row in rows) for name in StrategyPlan.__dataclass_fields__}


def _strategy_plan(
    project: Project, strategy: Strategy, files: Sequence[str], stale_seeds: set[str | None]
) -> StrategyPlan:
    if not files:
        # The planner reads the tokenizer and what the ledger has learned: 0.2 s for nothing.
        return StrategyPlan()
    planner = request_planner(strategy, project.rephraser, project.ledger, project.roots)
    documents = _Counted(_documents(project, files, stale_seeds))
    answered = sent = prompt_tokens = completion_tokens = 0
    for chunk in _distinct_chunks(planned_requests(documents, planner)):
        known = project.ledger.known_keys([planned.request.request_key for planned in chunk])
        for planned in chunk:
            if planned.request.request_key in known:
                answered += 1
                continue
            sent += 1
            prompt_tokens += planned.estimated_prompt_tokens
            completion_tokens += planned.estimated_completion_tokens
    bill = _bill(project, sent, prompt_tokens, completion_tokens)
    return StrategyPlan(
        to_generate=sent,
        answered_from_ledger=answered,
        documents=documents.count,
        prompt_tokens=bill.prompt_tokens,
        completion_tokens=bill.completion_tokens,
        flops=bill.flops,
        gpu_hours=bill.gpu_hours,
        cost_usd=bill.cost_usd,
    )


class _Counted:
    """Passes documents on and counts them."""

    def __init__(self, documents: Iterable[SeedDocument]) -> None:
        self._documents = documents
        self.count = 0

    def __iter__(self) -> Iterator[SeedDocument]:
        for document in self._documents:
            self.count += 1
            yield document


def _documents(project: Project, files: Sequence[str], stale_seeds: set[str | None]) -> Iterator[SeedDocument]:
    seen: set[str] = set()
    for name in files:
        if name not in stale_seeds:
            yield from candidates(project.lake, name)
            continue
        for row in read_seed(project.curator, project.lake, project.rephraser, name, project.evaluation_sets.screens()):
            if isinstance(row, dict) and row["is_candidate"] and not row["is_duplicate"]:
                if row["document_id"] not in seen:
                    yield SeedDocument(row["document_id"], name, row["title"] or "", row["text"], row["row_number"])
                seen.add(row["document_id"])


def _distinct_chunks(requests: Iterator[PlannedRequest]) -> Iterator[list[PlannedRequest]]:
    while chunk := list(islice(requests, KEYS_PER_LOOKUP)):
        yield list({planned.request.request_key: planned for planned in chunk}.values())


def _bill(project: Project, requests: int, prompt_tokens: int, completion_tokens: int) -> CostEstimate:
    arch = cost_model(project.rephraser.known_model()).architecture
    concurrency = project.settings.max_parallel_requests
    return estimate(arch, project.settings.hardware, requests, prompt_tokens, completion_tokens, concurrency)
