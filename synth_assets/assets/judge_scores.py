"""Judge scores of every rephrased document, from a model that sees exactly the source a text was made from.

In: planning, buying and tabulating judgements. Out: rubric, prompt and parts (`core.judge`).
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import dagster as dg

from resources.answer_lengths import answer_statistics
from resources.inference import Completion, CompletionLedger, CompletionRequest, ServedModel
from resources.lake import Lake
from resources.model_endpoint import ModelEndpoint
from synth_assets.assets.keys import CURATOR_FILE, JUDGE, JUDGE_SCORES, MERGED, ONE_RUN
from synth_assets.assets.partition_rows import PARTITION_COLUMN, Item
from synth_assets.assets.partition_runs import Event, materialize_partitions
from synth_assets.assets.purchases import Purchases, stopped_with_the_step
from synth_assets.assets.rephrased import UNKNOWN_MODEL
from synth_assets.assets.table_metadata import definition_metadata
from synth_assets.assets.versions import RootVersions
from synth_assets.core.buying_ahead import DocumentRequests
from synth_assets.core.code_fingerprint import code_fingerprint
from synth_assets.core.fingerprints import request_key
from synth_assets.core.generation import AnswerReader, Unanswered, Wait, nothing_is_bought
from synth_assets.core.judge import (
    JUDGE_SAMPLING,
    JUDGE_SCHEMA,
    JudgePart,
    SegmentSpan,
    combine,
    judge_parts,
    read_verdict,
)
from synth_assets.core.mixture import ORIGINAL
from synth_assets.core.output_length import AnswerTotals, OutputLength, PriorLength, output_length
from synth_assets.core.postprocessing import UnusableAnswerError
from synth_assets.core.request_planning import Drop, PlannedRequest
from synth_assets.core.tables import CURATED_DOCUMENTS, MERGED_DOCUMENTS
from synth_assets.core.tables import JUDGE_SCORES as JUDGE_TABLE

JUDGE_NAME = "judge"
"""The strategy name under which judgements stand in the ledger and in the drops."""
EXPECTED_VERDICT_TOKENS = 180
"""Three reasonings of one or two sentences, and the JSON round them."""
DEFAULT_CONTEXT_TOKENS = 8192


@dataclass(frozen=True)
class Judgement:
    """The calls for one merged document, or why there is none."""

    row: dict[str, Any]
    parts: tuple[JudgePart, ...]
    keys: tuple[str, ...]


def tabulate_judgements(
    judgements: Iterator[Judgement],
    ledger: CompletionLedger,
    model: ServedModel,
    wait: Wait = nothing_is_bought,
) -> Iterator[Item]:
    """A row, a drop or an unanswered mark for each judgement, from the ledger alone; waits as `tabulate` does."""
    reader = AnswerReader(ledger, wait)
    while chunk := list(islice(judgements, reader.chunk_size)):
        keys = [key for judgement in chunk for key in judgement.keys]
        answers = reader.fetch(len(chunk), keys)
        for judgement in chunk:
            yield _tabulated(judgement, answers, model)


def _tabulated(judgement: Judgement, answers: dict[str, Completion], model: ServedModel) -> Item:
    row = judgement.row
    wanted = [(part, key) for part, key in zip(judgement.parts, judgement.keys, strict=True) if not part.is_overflow]
    if missing := tuple(key for _, key in wanted if key not in answers):
        return Unanswered(row["document_id"], row["curator_file"], missing)
    if not wanted:
        return _drop(row, "context_overflow", "no segment with its source fits the judge's context")
    try:
        verdicts = [read_verdict(answers[key]) for _, key in wanted]
    except UnusableAnswerError as error:
        return _drop(row, error.reason, error.detail)
    scores = combine(verdicts, [part.rewrite_tokens for part, _ in wanted])
    return {
        "merged_id": row["merged_id"],
        "document_id": row["document_id"],
        "curator_file": row["curator_file"],
        "strategy": row["strategy"],
        "judge_model": model.name,
        **vars(scores),
        "part_count": len(wanted),
        "prompt_tokens": sum(answers[key].prompt_tokens for _, key in wanted),
        "completion_tokens": sum(answers[key].completion_tokens for _, key in wanted),
        "request_keys": [key for _, key in wanted],
    }


def _drop(row: dict[str, Any], reason: str, detail: str) -> Drop:
    return Drop(
        row["document_id"], row["curator_file"], None, JUDGE_NAME, "judging", reason, f"{row['strategy']}: {detail}"
    )


def build_judge_scores_asset(share: float) -> dg.AssetsDefinition:
    """`metrics.judge_scores` over that share of the texts; another share is another table, of answers that are kept."""
    code_version = code_fingerprint(judge_parts, combine, read_verdict, tabulate_judgements)
    if share != 1:
        code_version = f"{code_version}-{share:g}"

    @dg.asset(
        key=JUDGE_SCORES,
        deps=[MERGED, JUDGE],
        group_name="metrics",
        kinds={"vllm", "duckdb"},
        description=JUDGE_TABLE.description,
        code_version=code_version,
        metadata=definition_metadata(JUDGE_TABLE, PARTITION_COLUMN),
        pool="llm",
        partitions_def=CURATOR_FILE,
        backfill_policy=ONE_RUN,
    )
    def judge_scores(
        context: dg.AssetExecutionContext,
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[CompletionLedger],
        roots: dg.ResourceParam[RootVersions],
        judge: dg.ResourceParam[ModelEndpoint],
        purchases: dg.ResourceParam[Purchases],
    ) -> Iterator[Event]:
        """Buy the judgements that are missing for all files through one pipe, then tabulate file by file."""
        model = judge.known_model() or UNKNOWN_MODEL
        planner = JudgementPlanner(lake, judge, model, share, purchases.judge.on_planned)
        ahead = purchases.judge_ahead

        def stream(curator_file: str) -> Iterator[Item]:
            def wait(document_count: int | None, request_keys: Collection[str]) -> float | None:
                return ahead.wait(curator_file, document_count, request_keys)

            items = tabulate_judgements(planner.judgements(curator_file), ledger, model, wait)
            return purchases.whole(JUDGE_TABLE.name, curator_file, items)

        with stopped_with_the_step(ahead):
            ahead.begin({name: planner.requests(name) for name in context.partition_keys})
            yield from materialize_partitions(
                context, JUDGE_TABLE, lake, roots, stream, JUDGE_NAME, True, purchases.judge.report.failures
            )

    return judge_scores


class JudgementPlanner:
    """Plans the judge's calls for the merged documents of a file."""

    def __init__(
        self,
        lake: Lake,
        judge: ModelEndpoint,
        model: ServedModel,
        share: float,
        on_document: Callable[[], None] = lambda: None,
    ) -> None:
        self._lake = lake
        self._tokenizer = judge.tokenizer()
        self._model = model
        self._verdicts = verdict_length(lake, model)
        self._share = share
        self._on_document = on_document

    def requests(self, curator_file: str) -> Iterator[DocumentRequests]:
        """The calls that each judgement of this file needs."""
        for judgement in self.judgements(curator_file):
            self._on_document()
            yield [
                PlannedRequest(
                    CompletionRequest(key, part.messages, JUDGE_SAMPLING, JUDGE_SCHEMA),
                    JUDGE_NAME,
                    judgement.row["document_id"],
                    part.index,
                    part.prompt_tokens,
                    round(self._verdicts.expected(part.prompt_tokens, 0)),
                )
                for part, key in zip(judgement.parts, judgement.keys, strict=True)
                if not part.is_overflow
            ]

    def judgements(self, curator_file: str) -> Iterator[Judgement]:
        """One for each rephrased document of the file that falls into the judged share."""
        where = {PARTITION_COLUMN: curator_file}
        columns = ["merged_id", "document_id", "strategy", "title", "text", "segments"]
        for batch in self._lake.scan(MERGED_DOCUMENTS.name, columns=columns, where=where):
            rows = [row for row in batch.to_pylist() if row["strategy"] != ORIGINAL and self._is_judged(row)]
            ids = sorted({row["document_id"] for row in rows})
            sources = self._sources(curator_file, ids)
            for row in rows:
                yield self._judgement({**row, "curator_file": curator_file}, sources[row["document_id"]])

    def _is_judged(self, row: dict[str, Any]) -> bool:
        return int(row["merged_id"][:8], 16) < self._share * 2**32

    def _sources(self, curator_file: str, document_ids: list[str]) -> dict[str, str]:
        if not document_ids:
            return {}
        where = {PARTITION_COLUMN: curator_file, "document_id": document_ids}
        found = self._lake.read(CURATED_DOCUMENTS.name, columns=["document_id", "text"], where=where)
        return dict(zip(found["document_id"].to_pylist(), found["text"].to_pylist(), strict=True))

    def _judgement(self, row: dict[str, Any], source: str) -> Judgement:
        spans = [
            SegmentSpan(span["source_start"], span["source_end"], span["text_start"], span["text_end"])
            for span in row["segments"]
        ]
        context_tokens = self._model.max_model_len or DEFAULT_CONTEXT_TOKENS
        parts = judge_parts(row["title"] or "", source, row["text"], spans, self._tokenizer, context_tokens)
        keys = tuple(
            request_key(part.messages, JUDGE_SCHEMA, JUDGE_SAMPLING, self._model.name, self._model.revision, 0)
            for part in parts
        )
        return Judgement(row, parts, keys)


def verdict_length(lake: Lake, model: ServedModel) -> OutputLength:
    """How long this judge's verdicts are, as the ledger has seen them."""
    statistics = answer_statistics(lake, JUDGE_NAME, model.name)
    past_verdicts = AnswerTotals(**statistics) if statistics else None
    prior = PriorLength(JUDGE_SAMPLING.max_tokens, share=0.0, fixed_tokens=EXPECTED_VERDICT_TOKENS)
    return output_length(prior, 0.0, past_verdicts)
