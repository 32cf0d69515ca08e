"""A judge on trial: what it is asked about planted cases, and what its verdicts say about itself.

In: requests over the judge's own rubric and schema, verdicts as scores, agreement with itself, and detection by kind.
Out: the faults (`planted_faults`), sending the requests (`purchasing`), and the rubric (`judge`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

from resources.inference import Completion, CompletionRequest, ServedModel, Tokenizer
from synth_assets.core.fingerprints import request_key
from synth_assets.core.judge import (
    JUDGE_SAMPLING,
    JUDGE_SCHEMA,
    JudgeScores,
    SegmentSpan,
    combine,
    judge_parts,
    read_verdict,
)
from synth_assets.core.planted_cases import Passage, PlantedCase
from synth_assets.core.planted_faults import FAULT_KINDS
from synth_assets.core.postprocessing import UnusableAnswerError
from synth_assets.core.quality import JUDGE_DIMENSIONS
from synth_assets.core.request_planning import PlannedRequest

TRIAL_NAME = "judge_trial"
"""The strategy name under which these judgements stand in the ledger."""
EXPECTED_VERDICT_TOKENS = 180
DEFAULT_CONTEXT_TOKENS = 8192


@dataclass(frozen=True)
class Question:
    """One text to be judged against its passage. Draws of a question are told apart by number and temperature."""

    passage: Passage
    text: str
    temperature: float = 0.0
    draw: int = 0


@dataclass(frozen=True)
class Trial:
    """Plans questions for one judge and reads its answers."""

    model: ServedModel
    tokenizer: Tokenizer

    def requests(self, question: Question) -> list[PlannedRequest]:
        """The calls of one question; none where the passage does not fit the judge's context.

        The first draw at temperature 0 is the very call that judges documents; further draws are further generations.
        """
        source = question.passage.text
        span = SegmentSpan(0, len(source), 0, len(question.text))
        context = self.model.max_model_len or DEFAULT_CONTEXT_TOKENS
        parts = judge_parts(question.passage.title, source, question.text, [span], self.tokenizer, context)
        sampling = replace(JUDGE_SAMPLING, temperature=question.temperature)
        requests = []
        for part in parts:
            key = request_key(
                part.messages, JUDGE_SCHEMA, sampling, self.model.name, self.model.revision, question.draw
            )
            if not part.is_overflow:
                requests.append(
                    PlannedRequest(
                        CompletionRequest(key, part.messages, sampling, JUDGE_SCHEMA),
                        TRIAL_NAME,
                        question.passage.name,
                        part.index,
                        part.prompt_tokens,
                        EXPECTED_VERDICT_TOKENS,
                        question.draw,
                    )
                )
        return requests

    def scores(self, question: Question, answers: Mapping[str, Completion]) -> JudgeScores | None:
        """The verdict on one question; None where there is no answer, or one that is no verdict."""
        planned = self.requests(question)
        found = [answers.get(request.request.request_key) for request in planned]
        try:
            verdicts = [read_verdict(answer) for answer in found if answer is not None]
        except UnusableAnswerError:
            return None
        return combine(verdicts, [1.0] * len(verdicts)) if verdicts and len(verdicts) == len(planned) else None


@dataclass(frozen=True)
class Agreement:
    """How often two judgements of the same text give one dimension the same score, over all pairs."""

    dimension: str
    pair_count: int
    exact_share: float
    mean_absolute_difference: float


def agreement(repeats: Iterable[Sequence[JudgeScores]]) -> list[Agreement]:
    """Agreement by dimension; each item holds the judgements of one text. Nothing where no text was judged twice."""
    pairs = [pair for scores in repeats for pair in combinations(scores, 2)]
    found = []
    for dimension in JUDGE_DIMENSIONS if pairs else ():
        differences = [abs(getattr(a, dimension) - getattr(b, dimension)) for a, b in pairs]
        exact = sum(difference == 0 for difference in differences) / len(pairs)
        found.append(Agreement(dimension, len(pairs), exact, fmean(differences)))
    return found


def distribution(scores: Iterable[JudgeScores]) -> dict[str, dict[int, int]]:
    """For each dimension, how often each score from 1 to 5 was given."""
    given = list(scores)
    counts = {name: Counter(round(getattr(score, name)) for score in given) for name in JUDGE_DIMENSIONS}
    return {name: {value: count[value] for value in range(1, 6)} for name, count in counts.items()}


@dataclass(frozen=True)
class Detection:
    """What became of the cases of one kind: a fault is detected where the harmed text comes off worse."""

    kind: str
    looked_at: str
    """The judge's dimensions, or the measure."""
    case_count: int
    detected_count: int
    tie_count: int
    wrong_way_count: int
    """The harmed text comes off better."""

    @property
    def rate(self) -> float:
        """Share of the cases that were detected; 0 without cases."""
        return self.detected_count / self.case_count if self.case_count else 0.0


def detection(kind: str, looked_at: str, losses: Iterable[float]) -> Detection:
    """Counts over the losses of one kind: by how much each harmed text comes off worse than the unharmed one."""
    signs = Counter((loss > 0) - (loss < 0) for loss in losses)
    return Detection(kind, looked_at, signs.total(), signs[1], signs[0], signs[-1])


def judge_losses(
    cases: Iterable[PlantedCase], harmed: Mapping[PlantedCase, JudgeScores], unharmed: Mapping[Passage, JudgeScores]
) -> dict[str, list[float]]:
    """By kind, how much the mean of the kind's dimensions fell; cases without both verdicts are left out."""
    losses: dict[str, list[float]] = {name: [] for name in FAULT_KINDS}
    for case in cases:
        if case in harmed and case.passage in unharmed:
            before, after = unharmed[case.passage], harmed[case]
            dimensions = FAULT_KINDS[case.kind].dimensions
            losses[case.kind].append(fmean(getattr(before, name) - getattr(after, name) for name in dimensions))
    return losses
