"""How many tokens answers will have: learned from the ledger's own answers, else from published ratios, with a range.

In: totals over past answers, and the two ways to expect the next ones. Out: reading the ledger
(`resources.answer_lengths`), and what tokens cost (`cost`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

OUTPUT_TOKEN_PRIORS: dict[str, float] = {
    "wiki_rephrase": 0.83,
    "diverse_qa": 0.6,
    "distill": 0.35,
    "knowledge_extract": 0.67,
    "knowledge_list": 0.45,
}
"""Completion tokens for each token of a segment, until the ledger knows better.

From the token counts that Nemotron-CC (arXiv:2412.02595) gives for its synthetic parts: 451 billion source tokens
became 373 (Wikipedia style), 158 (distill), 304 (extract) and 203 (list). Its QA texts are stored with the source in
them, so for diverse QA it is the ratio of its output limit to its input limit, 600 to 1,000."""

DEFAULT_OUTPUT_TOKEN_PRIOR = 0.7
"""For a strategy that is not listed: between the extremes of the listed ones."""

MIN_ANSWERS_TO_LEARN_FROM = 20
"""Fewer answers than this of a strategy and model tell less about the next ones than the published ratios do."""

PRIOR_BAND = 2.5
"""The published ratios hold for other models and other texts: the range is from a `PRIOR_BAND`th to as many times. In
two runs of SmolLM2-135M the five strategies' answers came to 0.4 to 2.2 times what the ratios say."""

DEVIATIONS = 2.0
"""Half of a learned range, in standard deviations: 19 of 20 sums fall into it."""

GROWTH = 0.5
"""Of answers with the source, where nothing else is known: of a tenth more source comes a twentieth more answer.
Between none at all (SmolLM2-135M, whatever it is asked for) and growth in proportion."""

ANSWERS_FOR_GROWTH = 1.0
"""As many answers say so beforehand: it counts where those of the ledger are nearly of one length, and vanishes where
they differ. On eight sets of answers of SmolLM2 and a fake model, learned from 20, the sum of the others was missed by
19.6% on average; with the mean alone by 20.3%, in proportion to the source (4 such answers) by 23.5%."""


@dataclass(frozen=True)
class TokenRange:
    """Expected tokens, and the range around them."""

    low: float
    expected: float
    high: float


@dataclass(frozen=True)
class AnswerTotals:
    """What past answers of one strategy and model were like. Prompts are as estimated; variances are of one answer."""

    answers: int
    documents: int
    mean_prompt_tokens: float
    mean_completion_tokens: float
    prompt_variance: float
    completion_variance: float
    covariance: float


class OutputLength(Protocol):
    """What to expect of answers of one strategy and model."""

    @property
    def source(self) -> str:
        """`ledger` or `prior`."""
        ...

    def expected(self, prompt_tokens: float, segment_tokens: float) -> float:
        """Completion tokens of one request: of its whole prompt, and of the segment in it."""
        ...

    def sum_range(self, expected: float, requests: int, documents: int) -> TokenRange:
        """The range of the completion tokens of so many requests, of so many documents."""
        ...


@dataclass(frozen=True)
class PriorLength:
    """A share of the segment's length, as published, and a fixed number of tokens."""

    max_output_tokens: int
    share: float
    fixed_tokens: float = 0.0
    source: str = "prior"

    def expected(self, prompt_tokens: float, segment_tokens: float) -> float:
        """At most the request's limit."""
        return min(self.fixed_tokens + self.share * segment_tokens, self.max_output_tokens)

    def sum_range(self, expected: float, requests: int, documents: int) -> TokenRange:
        """A wide band, whatever the number."""
        return _capped(expected / PRIOR_BAND, expected, expected * PRIOR_BAND, requests * self.max_output_tokens)


@dataclass(frozen=True)
class LearnedLength:
    """A straight line through the answers that the ledger has, over the length of their prompts.

    Neither a ratio nor a mean alone: a rewrite grows with its segment, a list of facts in a schema hardly does.
    """

    totals: AnswerTotals
    fixed_prompt_tokens: float
    """Tokens of the prompt that are no source text."""
    max_output_tokens: int
    source: str = "ledger"

    @property
    def slope(self) -> float:
        """Completion tokens for one more token of prompt; never negative."""
        totals = self.totals
        source_tokens = max(totals.mean_prompt_tokens - self.fixed_prompt_tokens, 1.0)
        ratio = GROWTH * totals.mean_completion_tokens / source_tokens
        beforehand = ANSWERS_FOR_GROWTH * source_tokens**2
        seen = totals.answers * totals.prompt_variance
        return max((totals.answers * totals.covariance + beforehand * ratio) / (seen + beforehand), 0.0)

    def expected(self, prompt_tokens: float, segment_tokens: float) -> float:
        """On the line, at least 1 and at most the request's limit."""
        totals = self.totals
        on_line = totals.mean_completion_tokens + self.slope * (prompt_tokens - totals.mean_prompt_tokens)
        return min(max(on_line, 1.0), self.max_output_tokens)

    def sum_range(self, expected: float, requests: int, documents: int) -> TokenRange:
        """From the spread about the line, once for the answers to come and once for those learned from.

        The answers of one document count as one: its segments are alike.
        """
        totals = self.totals
        slope = self.slope
        variance = totals.completion_variance - 2 * slope * totals.covariance + slope**2 * totals.prompt_variance
        spread = math.sqrt(max(variance, 0.0))
        half = DEVIATIONS * requests * spread * math.sqrt(1 / max(documents, 1) + 1 / max(totals.documents, 1))
        return _capped(expected - half, expected, expected + half, requests * self.max_output_tokens)


def published_length(strategy: str, max_output_tokens: int) -> PriorLength:
    """What to expect of a strategy while the ledger has no answers."""
    return PriorLength(max_output_tokens, OUTPUT_TOKEN_PRIORS.get(strategy, DEFAULT_OUTPUT_TOKEN_PRIOR))


def output_length(prior: PriorLength, fixed_prompt_tokens: float, totals: AnswerTotals | None) -> OutputLength:
    """What to expect after `totals`; the prior where there are none or too few."""
    if totals is None or totals.answers < MIN_ANSWERS_TO_LEARN_FROM or totals.mean_completion_tokens <= 0:
        return prior
    return LearnedLength(totals, fixed_prompt_tokens, prior.max_output_tokens)


def _capped(low: float, expected: float, high: float, most: float) -> TokenRange:
    return TokenRange(max(low, 0.0), expected, max(min(high, most), expected))
