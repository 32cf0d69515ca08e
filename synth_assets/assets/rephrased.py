"""One asset for each strategy in the registry: rephrase the candidates of each Curator file.

In: the factory. Out: prompts and rules (`strategies`), planning and tabulating (`core.generation`), buying
(`core.purchasing`).
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cache

import dagster as dg

from resources.answer_lengths import answer_statistics
from resources.inference import ServedModel
from resources.lake import Lake
from resources.ledger import Ledger
from resources.model_endpoint import ModelEndpoint
from synth_assets.assets.keys import CURATED, CURATOR_FILE, EVALUATION_SETS, ONE_RUN, REPHRASER, table_key
from synth_assets.assets.obstacles import obstacles
from synth_assets.assets.partition_rows import PARTITION_COLUMN, Item
from synth_assets.assets.partition_runs import Event, materialize_partitions
from synth_assets.assets.purchases import Purchases, stopped_with_the_step
from synth_assets.assets.seed import CANDIDATE_COLUMNS, candidate
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions, Versions, generation_of
from synth_assets.core.buying_ahead import BuyingAhead, DocumentRequests
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.generation import tabulate
from synth_assets.core.output_length import AnswerTotals
from synth_assets.core.request_planning import RequestPlanner, SeedDocument, planned_documents
from synth_assets.core.segmentation import segment
from synth_assets.core.strategy import Strategy
from synth_assets.core.tables import CURATED_DOCUMENTS, rephrased
from synth_assets.evaluation_sets import EvaluationSets

UNKNOWN_MODEL = ServedModel("unknown")
"""Planned with while no server was ever seen: estimates only, no request carries it."""


def strategy_code_version(strategy: Strategy) -> str:
    """All that decides a strategy's rows, given documents and model: prompt, schema, sampling, rules, gates, code."""
    callables = [
        *strategy.rules,
        *filter(None, (strategy.to_structured, strategy.to_text, strategy.merge_structured)),
        *(gate.check for gate in strategy.gates),
    ]
    named = [gate.name for gate in strategy.gates]
    joining = f"{strategy.separator!r}|{strategy.is_after_source}"
    options = f"{strategy.on_truncation}|{strategy.is_segment_independent}|{joining}|{named}"
    code = code_fingerprint(tabulate, segment, *callables)
    return hashlib.blake2b(f"{strategy.generation_fingerprint}|{code}|{options}".encode(), digest_size=16).hexdigest()


def strategy_fingerprint(code_version: str, model: ServedModel) -> str:
    """The code version together with the model: what `strategy_fingerprint` in the tables holds."""
    return hashlib.blake2b(f"{code_version}|{model.name}|{model.revision}".encode(), digest_size=16).hexdigest()


def candidates(lake: Lake, curator_file: str) -> Iterator[SeedDocument]:
    """The documents of one file that strategies work on: candidates that no other row holds already."""
    where = {PARTITION_COLUMN: curator_file}
    for batch in lake.scan(CURATED_DOCUMENTS.name, columns=CANDIDATE_COLUMNS, where=where):
        for row in batch.to_pylist():
            if document := candidate(row, curator_file):
                yield document


ONE_PROCESS_EXECUTORS = {dg.in_process_executor.name, "execute_in_process_executor"}
"""Where the steps of a run are processes of their own, each would buy for all of them at the same time."""


def request_planner(strategy: Strategy, endpoint: ModelEndpoint, ledger: Ledger, roots: RootVersions) -> RequestPlanner:
    """The planner of one strategy for the model behind the endpoint, with what the ledger has learned of both."""
    key = table_key(rephrased(strategy.name))
    model = endpoint.known_model() or UNKNOWN_MODEL
    statistics = answer_statistics(ledger.lake, strategy.name, model.name)
    past_answers = AnswerTotals(**statistics) if statistics else None
    # Asked for each request, on several threads: without the cache half of the time that planning takes.
    generation = cache(lambda name: generation_of(roots, key, name))
    return RequestPlanner(strategy, endpoint.tokenizer(), model, generation, past_answers=past_answers)


def candidate_counts(lake: Lake) -> dict[str, int]:
    """Number of documents that strategies work on, by file."""
    found = lake.query(
        f"SELECT curator_file, count(*) AS documents FROM {CURATED_DOCUMENTS.name} "  # noqa: S608
        "WHERE is_candidate AND NOT is_duplicate GROUP BY 1"
    )
    return dict(zip(found["curator_file"].to_pylist(), found["documents"].to_pylist(), strict=True))


def in_buying_order(strategies: Iterable[Strategy]) -> list[Strategy]:
    """Long answers first: what is short fills the pipe while the last long ones end."""
    return sorted(strategies, key=lambda strategy: -strategy.limits.max_output_tokens)


def begin_buying(
    ahead: BuyingAhead,
    lake: Lake,
    planner_of: Callable[[Strategy], RequestPlanner],
    files_by_strategy: Iterable[tuple[Strategy, Sequence[str]]],
    on_document: Callable[[], None] = lambda: None,
) -> None:
    """Start buying what the ledger lacks for several strategies, each with files of its own, as one stream.

    The pipe never drains between strategies and files. A pair that was begun in this pass already is left out.
    """

    planners: dict[str, RequestPlanner] = {}

    def requests(strategy: Strategy, curator_file: str) -> Iterator[DocumentRequests]:
        # Where it is bought: reading the tokenizer takes 0.1 s, in which the caller's thread prepares its step.
        if strategy.name not in planners:
            planners[strategy.name] = planner_of(strategy)
        for planned in planned_documents(candidates(lake, curator_file), planners[strategy.name]):
            on_document()
            yield planned.requests

    files = {strategy.name: names for strategy, names in files_by_strategy}
    ahead.begin(
        {
            (strategy.name, name): requests(strategy, name)
            for strategy in in_buying_order(strategy for strategy, _ in files_by_strategy)
            for name in files[strategy.name]
        }
    )


def _strategies_of_run(
    context: dg.AssetExecutionContext, own: Strategy, strategies: Sequence[Strategy]
) -> list[Strategy]:
    """The strategies to buy for in this step: all that the run selects, where one process runs all of its steps."""
    executor = context.job_def.executor_def.name
    if executor not in ONE_PROCESS_EXECUTORS:
        return [own]
    selected = context.job_def.asset_layer.selected_asset_keys
    return [other for other in strategies if table_key(rephrased(other.name)) in selected]


def build_rephrased_asset(strategy: Strategy, strategies: Sequence[Strategy]) -> dg.AssetsDefinition:
    """The asset `rephrased.<name>` of one strategy.

    In a run over several of `strategies` the first step buys for all of them; the others find their answers kept.
    """
    spec = rephrased(strategy.name, strategy.description)
    code_version = strategy_code_version(strategy)

    @dg.asset(
        key=table_key(spec),
        deps=[CURATED, REPHRASER, EVALUATION_SETS],
        group_name="rephrased",
        kinds={"vllm", "duckdb"},
        description=f"{strategy.description}\n\nSource: {strategy.source}",
        code_version=code_version,
        metadata={
            **definition_metadata(spec, PARTITION_COLUMN),
            "instructions": strategy.instructions,
            "request": strategy.request,
        },
        pool="llm",
        partitions_def=CURATOR_FILE,
        backfill_policy=ONE_RUN,
    )
    def rephrased_asset(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
        roots: dg.ResourceParam[RootVersions],
        rephraser: dg.ResourceParam[ModelEndpoint],
        purchases: dg.ResourceParam[Purchases],
        evaluation_sets: dg.ResourceParam[EvaluationSets],
    ) -> Iterator[Event]:
        planner = request_planner(strategy, rephraser, ledger, roots)
        fingerprint = strategy_fingerprint(code_version, planner.model)
        graph = context.job_def.asset_layer.asset_graph
        files = list(context.partition_keys)
        # The same for every strategy, since all of them have the same parents.
        stopped = obstacles(context.instance, graph, Versions(context.instance, graph, roots), table_key(spec), files)
        wanted = [name for name in files if name not in stopped]
        bought_for = [(other, wanted) for other in _strategies_of_run(context, strategy, strategies)]
        ahead = purchases.rephrase_ahead

        def planner_of(other: Strategy) -> RequestPlanner:
            return planner if other is strategy else request_planner(other, rephraser, ledger, roots)

        def stream(curator_file: str) -> Iterator[Item]:
            def wait(document_count: int | None, request_keys: Collection[str]) -> float | None:
                return ahead.wait((strategy.name, curator_file), document_count, request_keys)

            documents = candidates(lake, curator_file)
            screens = [*strategy.gates, *evaluation_sets.screens()]
            items = tabulate(documents, planner, ledger, rephraser.tokenizer(), fingerprint, wait, screens)
            return purchases.whole(spec.name, curator_file, items)

        with stopped_with_the_step(ahead):
            begin_buying(ahead, lake, planner_of, bought_for)
            yield from materialize_partitions(
                context, spec, lake, roots, stream, strategy.name, True, purchases.rephrase.report.failures
            )

    return rephrased_asset
