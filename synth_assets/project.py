"""Everything one process works with, made from the settings: the only place where resources are put together.

In: construction. Out: the assets (`assets`), and what is done with them (`planning`, `cli`). Any resource can be
replaced by name, which is how tests and other projects put their own in: `build_project(settings, lake=my_lake)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from resources.claims import open_claims
from resources.duckdb_io_manager import DuckDBIOManager
from resources.generations import read_generations
from resources.lake import Lake
from resources.lake_address import LakeAddress
from resources.ledger import Ledger
from resources.ledger_writer import LedgerWriter
from resources.model_endpoint import ModelEndpoint, VLLMEndpoint
from resources.recent_answers import RecentAnswers
from resources.vllm_resource import VLLMResource
from synth_assets.assets.measured import prices_of
from synth_assets.assets.purchases import Purchases
from synth_assets.assets.reference import ReferenceScorer
from synth_assets.assets.roots import Roots
from synth_assets.assets.usage_meter import UsageMeter
from synth_assets.core.budget import Account, Budget
from synth_assets.core.markdown import strip_markdown
from synth_assets.core.purchasing import Purchaser
from synth_assets.core.strategy import Strategy
from synth_assets.curator_folder import CuratorFolder
from synth_assets.evaluation_sets import EvaluationSets
from synth_assets.settings import Settings
from synth_assets.strategies import discover


@dataclass(frozen=True)
class Project:
    """One project: its settings, its resources by name, its strategies."""

    settings: Settings
    resources: dict[str, Any]
    strategies: Sequence[Strategy]

    @property
    def lake(self) -> Lake:
        """The tables."""
        return self.resources["lake"]

    @property
    def ledger(self) -> Ledger:
        """The bought answers."""
        return self.resources["ledger"]

    @property
    def curator(self) -> CuratorFolder:
        """The files that come in."""
        return self.resources["curator"]

    @property
    def rephraser(self) -> ModelEndpoint:
        """The model that rephrases."""
        return self.resources["rephraser"]

    @property
    def judge(self) -> ModelEndpoint:
        """The model that judges."""
        return self.resources["judge"]

    @property
    def purchases(self) -> Purchases:
        """What this process buys."""
        return self.resources["purchases"]

    @property
    def reference(self) -> ReferenceScorer:
        """The model that perplexity is measured with."""
        return self.resources["reference"]

    @property
    def evaluation_sets(self) -> EvaluationSets:
        """What texts are kept free of."""
        return self.resources["evaluation_sets"]

    @property
    def roots(self) -> Roots:
        """Live versions of files and models."""
        return self.resources["roots"]


def build_project(settings: Settings, **overrides: Any) -> Project:
    """Put the resources together; each override replaces the resource of that name, and what rests on it follows."""
    made: dict[str, Any] = {"settings": settings}

    def take(name: str, make: Any) -> Any:
        made[name] = overrides[name] if name in overrides else make()
        return made[name]

    def server(base_url: str, model: str | None) -> VLLMResource:
        # Another server gets a key of its own, never the rephraser's.
        key = "VLLM_API_KEY" if base_url == settings.vllm_base_url else "JUDGE_API_KEY"
        parallel = settings.max_parallel_requests
        return VLLMResource(base_url=base_url, model=model, max_parallel_requests=parallel, api_key_variable=key)

    budget = Budget(settings.max_usd, settings.max_gpu_hours, settings.hardware.usd_per_gpu_hour)

    def account(endpoint: ModelEndpoint, servers: int) -> Account:
        return Account(
            budget,
            lambda: prices_of(
                lake,
                endpoint.known_model(),
                settings.hardware,
                settings.max_parallel_requests * servers,
                budget.limit_gpu_hours,
                servers,
            ),
        )

    def purchaser(endpoint: ModelEndpoint, server: VLLMResource, servers: int) -> Purchaser:
        address = LakeAddress(lake.catalog, lake.data_path)
        return Purchaser(
            endpoint.generator,
            ledger,
            # A commit takes 30 ms whatever it holds, so a wide pipe needs large ones.
            lambda: LedgerWriter(ledger, batch_size=max(32, settings.max_parallel_requests)),
            open_claims=lambda: open_claims(address),
            open_meter=lambda: UsageMeter(server, lake, settings.hardware),
            account=account(endpoint, servers),
        )

    vllm = take("vllm", lambda: server(settings.vllm_base_url, settings.vllm_model))
    judge_vllm = take("judge_vllm", lambda: server(settings.judge_base_url, settings.judge_model))
    lake = take("lake", lambda: Lake(settings.lake_catalog, settings.lake_data_path))
    take("io_manager", lambda: DuckDBIOManager(catalog=lake.catalog, data_path=lake.data_path))
    ledger = take("ledger", lambda: RecentAnswers(lake))
    curator = take("curator", lambda: CuratorFolder(settings.curator_output_dir, settings.home / "curator_files.json"))
    rephraser = take("rephraser", lambda: VLLMEndpoint(vllm, settings.home, settings.models_dir))
    judge = take("judge", lambda: VLLMEndpoint(judge_vllm, settings.home, settings.models_dir))
    reference = take("reference", lambda: ReferenceScorer(settings.perplexity_model, settings.models_dir, ledger))
    evaluation_sets = take(
        "evaluation_sets", lambda: EvaluationSets(settings.evaluation_sets, settings.decontamination_ngram)
    )
    take(
        "roots",
        lambda: Roots(
            curator,
            rephraser,
            judge,
            reference.identity,
            lambda: evaluation_sets.version(),
            settings.hardware,
            lambda: read_generations(lake),
        ),
    )
    rephrase = purchaser(rephraser, vllm, settings.server_count)
    judging = purchaser(judge, judge_vllm, settings.judge_server_count)
    take("purchases", lambda: Purchases(rephrase, judging, budget))
    strategies = overrides.pop("strategies", None) or discover()
    return Project(settings, {**made, **overrides}, tuple(_as_set(strategy, settings) for strategy in strategies))


def _as_set(strategy: Strategy, settings: Settings) -> Strategy:
    """The strategy as the settings want it; only the cap on answers changes what is asked for."""
    strategy = strategy.capped(settings.max_output_tokens)
    if settings.keeps_markdown:
        strategy = strategy.without_rule(strip_markdown)
    return strategy.after_source() if settings.is_source_before_questions else strategy


def plain_resources(project: Project) -> dict[str, object]:
    """The resources in the form that Dagster binds to parameters by name."""
    return {
        name: value
        if isinstance(value, (dg.ConfigurableResource, dg.ConfigurableIOManager, dg.ResourceDefinition))
        else dg.ResourceDefinition.hardcoded_resource(value)
        for name, value in project.resources.items()
    }
