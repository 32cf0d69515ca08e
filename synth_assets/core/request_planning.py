"""What to ask a model for one document: segments, rendered requests with their keys, expected tokens.

In: a seed document, a strategy, the tokenizer and the model behind the server. Out: what the answers become
(`synth_assets.core.generation`) and sending the requests (`synth_assets.core.purchasing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from resources.inference import CompletionRequest, ServedModel, Tokenizer
from synth_assets.core.fingerprints import request_key
from synth_assets.core.output_length import AnswerTotals, output_length, published_length
from synth_assets.core.segmentation import Segment, countable_whole, segment
from synth_assets.core.strategy import Strategy

CHAT_TEMPLATE_TOKENS = 24
"""Allowance for role markers and the generation prompt: ChatML and Llama-3 templates take 9 to 20 for two messages."""

MIN_SEGMENT_BUDGET = 32
"""Below this many tokens for the source there is nothing left to rephrase: the prompt does not fit the context."""

FIRST_CHUNK, LATER_CHUNKS = 16, 64
"""Documents planned together: few at first, since the first request waits for them; more do not count any faster."""


@dataclass(frozen=True)
class SeedDocument:
    """One candidate of the curated seed."""

    document_id: str
    curator_file: str
    title: str
    text: str
    row_number: int = 0
    token_count: int | None = None
    """Tokens of `text` by the tokenizer of that fingerprint, where somebody has counted them."""
    tokenizer_fingerprint: str | None = None


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
class PlannedRequest:
    """One call for one segment of one document."""

    request: CompletionRequest
    strategy: str
    document_id: str
    segment_index: int
    estimated_prompt_tokens: int
    estimated_completion_tokens: int
    generation: int = 0


@dataclass(frozen=True)
class PlannedDocument:
    """All calls for one document in one strategy, or the drop that makes them unnecessary."""

    document: SeedDocument
    segments: tuple[Segment, ...] = ()
    requests: tuple[PlannedRequest, ...] = ()
    drop: Drop | None = None


class RequestPlanner:
    """Plans the calls of one strategy for one model: segmentation, rendering, keys, expected tokens.

    `generation_of` says, for a Curator file, which draw of the answers is wanted; 0 is the first. `past_answers` is
    what the ledger has seen of this strategy and model. Expected answers and their range are `output_length`'s.
    """

    def __init__(
        self,
        strategy: Strategy,
        tokenizer: Tokenizer,
        model: ServedModel,
        generation_of: Callable[[str], int] = lambda _curator_file: 0,
        past_answers: AnswerTotals | None = None,
    ) -> None:
        self.strategy = strategy
        self.model = model
        self._tokenizer = tokenizer
        self._tokenizer_fingerprint = tokenizer.fingerprint
        self._generation_of = generation_of
        # Made once: of a wire model it takes a millisecond.
        self._response_schema = strategy.response_schema
        self._sampling = strategy.sampling
        limits = strategy.limits
        context = model.max_model_len or limits.max_input_tokens + limits.max_output_tokens
        self._input_budget = min(limits.max_input_tokens, context - limits.max_output_tokens)
        prompt = "".join(message.content for message in strategy.messages("", ""))
        self._prompt_tokens = tokenizer.count_tokens([prompt])[0] + CHAT_TEMPLATE_TOKENS
        self.output_length = output_length(
            published_length(strategy.name, limits.max_output_tokens), self._prompt_tokens, past_answers
        )

    def plan(self, document: SeedDocument) -> PlannedDocument:
        """Segments and requests of one document. Never cuts: what does not fit is segmented, or dropped by name."""
        return self.plan_many([document])[0]

    def plan_many(self, documents: Sequence[SeedDocument]) -> list[PlannedDocument]:
        """The same as `plan` of each document, in order; titles and texts are counted in one call for all of them.

        Texts that this tokenizer has counted when the seed was made are not counted again: 0.3 to 0.6 ms for 2 KB.
        """
        titles = [document.title for document in documents]
        # The title is not counted yet, so this is the most that its text can have.
        budget = self._input_budget - self._prompt_tokens
        seed_counts = [self._seed_count(document) for document in documents]
        wholes = [
            countable_whole(document.text, budget) if known is None else None
            for document, known in zip(documents, seed_counts, strict=True)
        ]
        texts = titles + [whole for whole in wholes if whole is not None]
        counted = iter(self._tokenizer.count_tokens(texts) if texts else ())
        title_tokens = list(islice(counted, len(titles)))
        whole_tokens = [
            known if whole is None else next(counted) for whole, known in zip(wholes, seed_counts, strict=True)
        ]
        return list(map(self._plan_counted, documents, title_tokens, whole_tokens))

    def _seed_count(self, document: SeedDocument) -> int | None:
        """What the seed has counted, where it is this tokenizer's count of what a segment is made of."""
        is_ours = document.tokenizer_fingerprint == self._tokenizer_fingerprint
        return document.token_count if is_ours and document.text == document.text.strip() else None

    def _plan_counted(self, document: SeedDocument, title_tokens: int, whole_tokens: int | None) -> PlannedDocument:
        strategy = self.strategy
        overhead = self._prompt_tokens + title_tokens
        budget = self._input_budget - overhead
        if budget < MIN_SEGMENT_BUDGET:
            detail = f"prompt and title take {overhead} of {self._input_budget} input tokens"
            return PlannedDocument(document, drop=self._drop(document, "context_overflow", detail))
        segments = segment(document.text, self._tokenizer, budget, strategy.limits.min_segment_tokens, whole_tokens)
        token_count = sum(piece.token_count for piece in segments)
        if token_count < strategy.limits.min_document_tokens:
            detail = f"{token_count} tokens, at least {strategy.limits.min_document_tokens} needed"
            return PlannedDocument(document, drop=self._drop(document, "too_short", detail))
        requests = tuple(self._request(document, piece, overhead) for piece in segments)
        return PlannedDocument(document, segments, requests)

    def _request(self, document: SeedDocument, piece: Segment, overhead: int) -> PlannedRequest:
        strategy = self.strategy
        messages = strategy.messages(document.title, piece.text)
        generation = self._generation_of(document.curator_file)
        key = request_key(
            messages,
            self._response_schema,
            self._sampling,
            self.model.name,
            self.model.revision,
            generation,
        )
        request = CompletionRequest(key, messages, self._sampling, self._response_schema)
        prompt_tokens = overhead + piece.token_count
        return PlannedRequest(
            request,
            strategy.name,
            document.document_id,
            piece.index,
            prompt_tokens,
            round(self.output_length.expected(prompt_tokens, piece.token_count)),
            generation,
        )

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


def planned_documents(documents: Iterable[SeedDocument], planner: RequestPlanner) -> Iterator[PlannedDocument]:
    """The plan of each document, in order; pulls a few documents ahead, which are planned together."""
    stream = iter(documents)
    size = FIRST_CHUNK
    while chunk := list(islice(stream, size)):
        yield from planner.plan_many(chunk)
        size = LATER_CHUNKS


def planned_requests(documents: Iterable[SeedDocument], planner: RequestPlanner) -> Iterator[PlannedRequest]:
    """Every call that the documents need in this strategy, answered or not, in document order; pulls a few ahead."""
    for planned in planned_documents(documents, planner):
        yield from planned.requests
