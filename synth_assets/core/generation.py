"""What to make of a model's answers: rows, named drops, and documents that still miss an answer. Streams.

In: seed documents, the planner that knows their requests, and a ledger. Out: planning the requests
(`synth_assets.core.request_planning`), sending them (`synth_assets.core.purchasing`). No call is made here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pydantic import BaseModel

from resources.inference import Completion, CompletionLedger, Tokenizer
from synth_assets.core.passages import after_passages
from synth_assets.core.postprocessing import FinishedSegment, finish_segment
from synth_assets.core.request_planning import Drop, PlannedDocument, RequestPlanner, SeedDocument, planned_documents
from synth_assets.core.screening import Screen, first_rejection
from synth_assets.core.segmentation import Segment
from synth_assets.core.strategy import AnswerContext, Strategy, TokenLimits

DOCUMENTS_PER_LOOKUP = 1024
"""Documents whose answers are fetched from the ledger with one query, which goes through all its keys; bounds memory at
some megabytes."""

DOCUMENTS_WHILE_BUYING = 128
"""The same while answers are still coming: what is left to do after the last one takes a tenth of a second."""


Wait = Callable[[int | None, Collection[str]], float | None]
"""Returns when the requests with these keys are answered, or will not be: they are of the first so many documents, or,
with None, of any. Its value is the seconds that it had to wait, or None where they are not bought for."""


def nothing_is_bought(_document_count: int | None, _request_keys: Collection[str]) -> None:
    """A `Wait` for tables that are made of what the ledger has."""


@dataclass(frozen=True)
class Unanswered:
    """A document with at least one request that has no answer: no drop, it fails its partition and is asked again."""

    document_id: str
    curator_file: str
    request_keys: tuple[str, ...]


@dataclass(frozen=True)
class RephrasedDocument:
    """One row of `rephrased.<strategy>`; `row` has that table's columns."""

    row: dict[str, Any]


class AnswerReader:
    """Fetches the answers of one table's documents, chunk by chunk, after waiting for those that are still bought."""

    def __init__(self, ledger: CompletionLedger, wait: Wait = nothing_is_bought) -> None:
        self.chunk_size = DOCUMENTS_WHILE_BUYING
        """How many documents are best taken next."""
        self._ledger = ledger
        self._wait = wait
        self._document_count = 0

    def fetch(self, document_count: int, request_keys: Sequence[str]) -> dict[str, Completion]:
        """The answers to those of the requests of the next so many documents that have one."""
        self._document_count += document_count
        if not request_keys:
            return {}
        waited_seconds = self._wait(self._document_count, request_keys)
        self.chunk_size = DOCUMENTS_WHILE_BUYING if waited_seconds else DOCUMENTS_PER_LOOKUP
        answers = self._ledger.fetch(request_keys)
        missing = [key for key in request_keys if key not in answers]
        if missing and waited_seconds is not None:
            # They have failed, or the documents came in another order than they were bought for.
            self._wait(None, missing)
            answers |= self._ledger.fetch(missing)
        return answers


def tabulate(
    documents: Iterable[SeedDocument],
    planner: RequestPlanner,
    ledger: CompletionLedger,
    tokenizer: Tokenizer,
    strategy_fingerprint: str,
    wait: Wait = nothing_is_bought,
    screens: Sequence[Screen] = (),
) -> Iterator[RephrasedDocument | Drop | Unanswered]:
    """Make exactly one row, drop or unanswered mark of each document, from the ledger alone: no call is made.

    A text that one of the `screens` rejects is a drop with that screen's reason.
    """
    planned = planned_documents(documents, planner)
    reader = AnswerReader(ledger, wait)
    while chunk := list(islice(planned, reader.chunk_size)):
        keys = [asked.request.request_key for plan in chunk for asked in plan.requests]
        answers = reader.fetch(len(chunk), keys)
        finished = [_finish_document(plan, planner, answers, strategy_fingerprint) for plan in chunk]
        of_a_length = _drop_by_length(finished, planner.strategy, tokenizer)
        for plan, item in zip(chunk, of_a_length, strict=True):
            yield _screened(plan.document, item, planner.strategy, screens)


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


def _screened(
    document: SeedDocument,
    item: RephrasedDocument | Drop | Unanswered,
    strategy: Strategy,
    screens: Sequence[Screen],
) -> RephrasedDocument | Drop | Unanswered:
    """The row, or the drop that a screen makes of it."""
    if not isinstance(item, RephrasedDocument):
        return item
    rejection = first_rejection(screens, document.text, item.row["text"])
    if rejection is None and strategy.is_after_source:
        return RephrasedDocument(after_passages(item.row, document.text, strategy.separator))
    if rejection is None:
        return item
    return Drop(
        document.document_id,
        document.curator_file,
        document.row_number,
        strategy.name,
        rejection.stage,
        rejection.reason,
        rejection.detail,
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


def _drop_by_length(
    finished: list[RephrasedDocument | Drop | Unanswered], strategy: Strategy, tokenizer: Tokenizer
) -> Iterator[RephrasedDocument | Drop | Unanswered]:
    """Replace rows outside of the strategy's final lengths by drops; one tokenizer call for the chunk."""
    rows = [item for item in finished if isinstance(item, RephrasedDocument)]
    counts = iter(tokenizer.count_tokens([item.row["text"] for item in rows]) if rows else [])
    for item in finished:
        if not isinstance(item, RephrasedDocument):
            yield item
            continue
        reason, limit = _length_verdict(next(counts), strategy.limits)
        if not reason:
            yield item
            continue
        row = item.row
        yield Drop(row["document_id"], row["curator_file"], None, strategy.name, "post_processing", reason, limit)


def _length_verdict(token_count: int, limits: TokenLimits) -> tuple[str, str]:
    """Reason and detail of a drop; two empty texts where the length is right."""
    if token_count < limits.min_final_tokens:
        return "too_short", f"{token_count} tokens after clean-up, at least {limits.min_final_tokens} needed"
    if limits.max_final_tokens is not None and token_count > limits.max_final_tokens:
        return "too_long", f"{token_count} tokens after clean-up, at most {limits.max_final_tokens} wanted"
    return "", ""
