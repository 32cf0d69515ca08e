"""What a rephrasing strategy is: prompts, sampling, token limits and clean-up rules, as one frozen value.

In: the value object and its fingerprints. Out: the strategies themselves (`synth_assets.strategies`, one file each)
and how they are run (`synth_assets.core.generation`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Literal

from pydantic import BaseModel

from resources.inference import ChatMessage, SamplingParams
from synth_assets.core.gates import DEFAULT_GATES, Gate


@dataclass(frozen=True)
class TokenLimits:
    """Token budgets by the served model's tokenizer (Nemotron-CC, arXiv:2412.02595, as NeMo Curator sets them)."""

    min_document_tokens: int
    """A shorter document is dropped as `too_short` before any call."""
    min_segment_tokens: int
    """A shorter tail is joined to its neighbour instead of being sent by itself."""
    max_input_tokens: int
    """Prompt and segment together."""
    max_output_tokens: int
    """`max_tokens` of the request."""
    min_final_tokens: int
    """A shorter text after clean-up is dropped as `too_short`."""
    max_final_tokens: int | None = None
    """A longer text after clean-up is dropped as `too_long`; None: however long. Of a document, not of a segment."""


@dataclass(frozen=True)
class AnswerContext:
    """What a clean-up rule may look at beside the answer itself."""

    title: str
    source: str
    """The segment that was rephrased."""
    request_key: str
    """Seeds whatever a rule shuffles, so that the same answer always gives the same text."""


Rule = Callable[[str, AnswerContext], str]
"""Cleans one answer. A rule is idempotent and never adds a character that was not in the answer."""

StructuredToText = Callable[[BaseModel, AnswerContext], str]
"""Makes training text of one validated structured answer."""


@dataclass(frozen=True)
class Strategy:
    """One way to rephrase a document, and one table `rephrased.<name>`."""

    name: str
    title: str
    description: str
    source: str
    """The paper and section the strategy follows."""
    instructions: str
    """System message: constant, so that the server's prefix cache holds it."""
    request: str
    """User message; `{title}` and `{segment}` are replaced, nothing else is interpreted."""
    sampling_temperature: float
    sampling_top_p: float
    limits: TokenLimits
    rules: tuple[Rule, ...] = ()
    """Applied in order to each segment's answer (to each string of it where the strategy is structured)."""
    gates: tuple[Gate, ...] = DEFAULT_GATES
    """What rejects a finished text. Costs no call."""
    on_truncation: Literal["trim", "drop"] = "trim"
    """An answer cut by max_tokens: cut back to its last whole sentence or line, or dropped as `truncated`."""
    is_segment_independent: bool = False
    """True: a document keeps its other segments when one gives nothing. False: it is dropped, not joined over a gap."""
    separator: str = "\n\n"
    """Between the texts of consecutive segments."""
    can_follow_source: bool = False
    """Its text makes sense right after the passage: questions do, a second wording of the same does not."""
    is_after_source: bool = False
    """Each segment's text is put after its passage."""
    wire_model: type[BaseModel] | None = None
    """Schema that constrains decoding on the server."""
    to_structured: Callable[[BaseModel], BaseModel] | None = None
    """From the wire model to the model that is stored as JSON in `structured`; raises ValueError when it is invalid."""
    to_text: StructuredToText | None = None
    merge_structured: Callable[[list[BaseModel]], BaseModel] | None = None
    """Joins the structured answers of several segments."""

    def capped(self, max_output_tokens: int | None) -> Strategy:
        """The same with shorter answers. A structured answer keeps its limit: cut, it would be no answer at all."""
        if max_output_tokens is None or self.wire_model is not None:
            return self
        limit = min(self.limits.max_output_tokens, max_output_tokens)
        return replace(self, limits=replace(self.limits, max_output_tokens=limit))

    def after_source(self) -> Strategy:
        """The same with each text after its passage, where that makes sense. Costs no call."""
        return replace(self, is_after_source=self.can_follow_source)

    def without_rule(self, rule: Rule) -> Strategy:
        """The same without one of its clean-up rules. Costs no call."""
        return replace(self, rules=tuple(own for own in self.rules if own is not rule))

    @property
    def sampling(self) -> SamplingParams:
        """Sampling parameters of every request of this strategy."""
        return SamplingParams(self.sampling_temperature, self.sampling_top_p, self.limits.max_output_tokens)

    @property
    def response_schema(self) -> str | None:
        """JSON-schema text for `response_format`, or None for free text.

        Keys keep their order: constrained decoding writes an object's properties in the schema's order, and
        sorting them would have the model answer before it has put the question.
        """
        return None if self.wire_model is None else json.dumps(self.wire_model.model_json_schema())

    def messages(self, title: str, segment: str) -> tuple[ChatMessage, ...]:
        """The prompt for one segment. Braces in title and segment stay as they are."""
        before, after = self.request.split("{segment}")
        filled = before.replace("{title}", title) + segment + after.replace("{title}", title)
        return (ChatMessage("system", self.instructions), ChatMessage("user", filled))

    @property
    def generation_fingerprint(self) -> str:
        """Hash of what decides the requests: prompt, schema, sampling and token budgets."""
        parts = [
            self.instructions,
            self.request,
            self.response_schema,
            asdict(self.sampling),
            asdict(self.limits),
        ]
        return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
