"""What to ask a model for one document, and what to make of the answers. Streams; knows no server and no storage.

In: seed documents, a strategy, the tokenizer and the model behind the server. Out: planned requests with their keys
(`RequestPlanner`), and rows, drops and missing answers made from a ledger (`tabulate`). Sending requests is
`synth_assets.core.purchasing`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import BaseModel

from resources.inference import Completion, CompletionLedger, CompletionRequest, ServedModel, Tokenizer
from synth_assets.core.cost import output_token_prior
from synth_assets.core.fingerprints import request_key
from synth_assets.core.postprocessing import FinishedSegment, finish_segment
from synth_assets.core.segmentation import Segment, segment
from synth_assets.core.strategy import AnswerContext, Strategy

CHAT_TEMPLATE_TOKENS = 24
"""Allowance for role markers and the generation prompt: ChatML and Llama-3 templates take 9 to 20 for two messages."""

MIN_SEGMENT_BUDGET = 32
"""Below this many tokens for the source there is nothing left to rephrase: the prompt does not fit the context."""

DOCUMENTS_PER_LOOKUP = 256
"""Documents whose answers are fetched from the ledger with one query; bounds memory at some megabytes."""


@dataclass(frozen=True)
class SeedDocument:
    """One candidate of the curated seed."""

    document_id: str
    curator_file: str
    title: str
    text: str
    row_number: int = 0


@dataclass(frozen=True)
class Drop:
    """One input that gives no output, and why. `reason` is one of `tables.DROP_REASONS`."""

    document_id: str | None
    curator_file: str
    row_number: int | None
    strategy: str | None
    stage: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Unanswered:
    """A document with at least one request that has no answer: no drop, it fails its partition and is asked again."""

    document_id: str
    curator_file: str
    request_keys: tuple[str, ...]


@dataclass(frozen=True)
class PlannedRequest:
    """One call for one segment of one document."""

    request: CompletionRequest
    strategy: str
    document_id: str
    segment_index: int
    estimated_prompt_tokens: int
    estimated_completion_tokens: int


@dataclass(frozen=True)
class PlannedDocument:
    """All calls for one document in one strategy, or the drop that makes them unnecessary."""

    document: SeedDocument
    segments: tuple[Segment, ...] = ()
    requests: tuple[PlannedRequest, ...] = ()
    drop: Drop | None = None


@dataclass(frozen=True)
class RephrasedDocument:
    """One row of `rephrased.<strategy>`; `row` has that table's columns."""

    row: dict[str, Any]


class RequestPlanner:
    """Plans the calls of one strategy for one model: segmentation, rendering, keys, expected tokens.

    `learned_ratio` is completion tokens for each prompt token, where the ledger has seen enough of them.
    """

    def __init__(
        self,
        strategy: Strategy,
        tokenizer: Tokenizer,
        model: ServedModel,
        generation: int = 0,
        learned_ratio: float | None = None,
    ) -> None:
        self.strategy = strategy
        self.model = model
        self._tokenizer = tokenizer
        self._generation = generation
        self._learned_ratio = learned_ratio
        limits = strategy.limits
        context = model.max_model_len or limits.max_input_tokens + limits.max_output_tokens
        self._input_budget = min(limits.max_input_tokens, context - limits.max_output_tokens)
        prompt = "".join(message.content for message in strategy.messages("", ""))
        self._prompt_tokens = tokenizer.count_tokens([prompt])[0] + CHAT_TEMPLATE_TOKENS

    def plan(self, document: SeedDocument) -> PlannedDocument:
        """Segments and requests of one document. Never cuts: what does not fit is segmented, or dropped by name."""
        strategy = self.strategy
        overhead = self._prompt_tokens + self._tokenizer.count_tokens([document.title])[0]
        budget = self._input_budget - overhead
        if budget < MIN_SEGMENT_BUDGET:
            detail = f"prompt and title take {overhead} of {self._input_budget} input tokens"
            return PlannedDocument(document, drop=self._drop(document, "context_overflow", detail))
        segments = segment(document.text, self._tokenizer, budget, strategy.limits.min_segment_tokens)
        token_count = sum(piece.token_count for piece in segments)
        if token_count < strategy.limits.min_document_tokens:
            detail = f"{token_count} tokens, at least {strategy.limits.min_document_tokens} needed"
            return PlannedDocument(document, drop=self._drop(document, "too_short", detail))
        requests = tuple(self._request(document, piece, overhead) for piece in segments)
        return PlannedDocument(document, segments, requests)

    def _request(self, document: SeedDocument, piece: Segment, overhead: int) -> PlannedRequest:
        strategy = self.strategy
        messages = strategy.messages(document.title, piece.text)
        key = request_key(
            messages,
            strategy.response_schema,
            strategy.sampling,
            self.model.name,
            self.model.revision,
            self._generation,
        )
        request = CompletionRequest(key, messages, strategy.sampling, strategy.response_schema)
        return PlannedRequest(
            request,
            strategy.name,
            document.document_id,
            piece.index,
            overhead + piece.token_count,
            round(self._expected_completion_tokens(piece.token_count)),
        )

    def _expected_completion_tokens(self, segment_tokens: int) -> float:
        """From what this strategy and model have answered so far, else from published ratios."""
        limit = self.strategy.limits.max_output_tokens
        if self._learned_ratio is None:
            return output_token_prior(self.strategy.name, segment_tokens, limit)
        return min(self._learned_ratio * (self._prompt_tokens + segment_tokens), limit)

    def _drop(self, document: SeedDocument, reason: str, detail: str) -> Drop:
        return Drop(
            document.document_id,
            document.curator_file,
            document.row_number,
            self.strategy.name,
            "segmentation",
            reason,
            detail,
        )


def planned_requests(documents: Iterable[SeedDocument], planner: RequestPlanner) -> Iterator[PlannedRequest]:
    """Every call that the documents need in this strategy, answered or not, in document order."""
    for document in documents:
        yield from planner.plan(document).requests


def tabulate(
    documents: Iterable[SeedDocument],
    planner: RequestPlanner,
    ledger: CompletionLedger,
    tokenizer: Tokenizer,
    strategy_fingerprint: str,
) -> Iterator[RephrasedDocument | Drop | Unanswered]:
    """Make exactly one row, drop or unanswered mark of each document, from the ledger alone: no call is made."""
    stream = iter(documents)
    while chunk := [planner.plan(document) for document in islice(stream, DOCUMENTS_PER_LOOKUP)]:
        keys = [planned.request.request_key for plan in chunk for planned in plan.requests]
        answers = ledger.fetch(keys) if keys else {}
        finished = [_finish_document(plan, planner, answers, strategy_fingerprint) for plan in chunk]
        yield from _drop_short(finished, planner.strategy, tokenizer)


def _finish_document(
    plan: PlannedDocument, planner: RequestPlanner, answers: dict[str, Completion], strategy_fingerprint: str
) -> RephrasedDocument | Drop | Unanswered:
    if plan.drop is not None:
        return plan.drop
    document, strategy = plan.document, planner.strategy
    keys = [planned.request.request_key for planned in plan.requests]
    missing = tuple(key for key in keys if key not in answers)
    if missing:
        return Unanswered(document.document_id, document.curator_file, missing)
    finished = [
        finish_segment(answers[key], strategy, AnswerContext(document.title, piece.text, key))
        for key, piece in zip(keys, plan.segments, strict=True)
    ]
    kept = [
        (piece, key, done) for piece, key, done in zip(plan.segments, keys, finished, strict=True) if not done.reason
    ]
    if not kept or (len(kept) < len(finished) and not strategy.is_segment_independent):
        return _segment_drop(document, strategy, finished)
    text, spans = _join(kept, strategy.separator)
    return RephrasedDocument(
        {
            "document_id": document.document_id,
            "curator_file": document.curator_file,
            "text": text,
            "structured": _structured(strategy, kept),
            "segment_count": len(finished),
            "dropped_segment_count": len(finished) - len(kept),
            "prompt_tokens": sum(answers[key].prompt_tokens for key in keys),
            "completion_tokens": sum(answers[key].completion_tokens for key in keys),
            "model": planner.model.name,
            "strategy_fingerprint": strategy_fingerprint,
            "segments": spans,
        }
    )


def _segment_drop(document: SeedDocument, strategy: Strategy, finished: list[FinishedSegment]) -> Drop:
    index, first = next((i, done) for i, done in enumerate(finished) if done.reason)
    detail = f"segment {index + 1} of {len(finished)}: {first.detail}".rstrip(": ")
    return Drop(
        document.document_id,
        document.curator_file,
        document.row_number,
        strategy.name,
        "post_processing",
        first.reason or "empty",
        detail,
    )


def _join(kept: list[tuple[Segment, str, FinishedSegment]], separator: str) -> tuple[str, list[dict[str, Any]]]:
    """The document's text, and for each segment its character ranges in the source and in that text."""
    texts: list[str] = []
    spans: list[dict[str, Any]] = []
    position = 0
    for piece, key, done in kept:
        spans.append(
            {
                "segment_index": piece.index,
                "source_start": piece.start,
                "source_end": piece.end,
                "text_start": position,
                "text_end": position + len(done.text),
                "request_key": key,
            }
        )
        texts.append(done.text)
        position += len(done.text) + len(separator)
    return separator.join(texts), spans


def _structured(strategy: Strategy, kept: list[tuple[Segment, str, FinishedSegment]]) -> str | None:
    answers: list[BaseModel] = [done.structured for _, _, done in kept if done.structured is not None]
    if not answers:
        return None
    merged = strategy.merge_structured(answers) if strategy.merge_structured else answers[0]
    return json.dumps(merged.model_dump(mode="json"), ensure_ascii=False)


def _drop_short(
    finished: list[RephrasedDocument | Drop | Unanswered], strategy: Strategy, tokenizer: Tokenizer
) -> Iterator[RephrasedDocument | Drop | Unanswered]:
    """Replace rows under the strategy's minimum final length by drops; one tokenizer call for the chunk."""
    rows = [item for item in finished if isinstance(item, RephrasedDocument)]
    counts = iter(tokenizer.count_tokens([item.row["text"] for item in rows]) if rows else [])
    for item in finished:
        if not isinstance(item, RephrasedDocument):
            yield item
            continue
        token_count = next(counts)
        minimum = strategy.limits.min_final_tokens
        if token_count >= minimum:
            yield item
        else:
            detail = f"{token_count} tokens after clean-up, at least {minimum} needed"
            row = item.row
            yield Drop(
                row["document_id"],
                row["curator_file"],
                None,
                strategy.name,
                "post_processing",
                "too_short",
                detail,
            )
