"""One judge before the planted cases: what it is asked, and all that its verdicts say.

In: which texts are judged how often, buying, and the findings. Out: requests and arithmetic
(`synth_assets.core.judge_trial`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resources.inference import CompletionLedger, ServedModel, Tokenizer
from synth_assets.core.judge import JudgeScores
from synth_assets.core.judge_trial import (
    Agreement,
    Detection,
    Question,
    Trial,
    agreement,
    detection,
    distribution,
    judge_losses,
)
from synth_assets.core.planted_cases import Passage, PlantedCase
from synth_assets.core.planted_faults import FAULT_KINDS
from synth_assets.core.purchasing import Purchaser

TEMPERATURES = (0.0, 0.7)
"""Documents are judged at 0; at 0.7 the scores spread as far as the judge is unsure."""
DRAWS = 3
KEYS_TOGETHER = 512


@dataclass(frozen=True)
class JudgeFindings:
    """What is known of one judge."""

    judge_model: str
    questions: int
    verdicts: int
    """Questions with a verdict; the others were cut, invalid or failed."""
    requests_sent: int
    agreements: dict[float, list[Agreement]]
    """By temperature."""
    distribution: dict[str, dict[int, int]]
    """Scores of unharmed and harmed texts at temperature 0, the first draw of each."""
    detections: list[Detection]


def try_judge(
    cases: Sequence[PlantedCase],
    repeated_count: int,
    model: ServedModel,
    tokenizer: Tokenizer,
    purchaser: Purchaser,
    ledger: CompletionLedger,
) -> JudgeFindings:
    """Judge each case, its passage unharmed, and `repeated_count` passages again and again."""
    trial = Trial(model, tokenizer)
    unharmed = list(dict.fromkeys(case.passage for case in cases))
    harmed = {case: Question(case.passage, case.text) for case in cases}
    repeats = {
        temperature: [
            [Question(passage, passage.text, temperature, draw) for draw in range(DRAWS)]
            for passage in unharmed[:repeated_count]
        ]
        for temperature in TEMPERATURES
    }
    questions = list(
        dict.fromkeys(
            [
                *(_plain(passage) for passage in unharmed),
                *harmed.values(),
                *(question for draws in repeats.values() for same in draws for question in same),
            ]
        )
    )
    planned = {question: trial.requests(question) for question in questions}
    sent = purchaser.buy(request for requests in planned.values() for request in requests).requests_sent
    keys = [request.request.request_key for requests in planned.values() for request in requests]
    answers = {
        key: answer
        for first in range(0, len(keys), KEYS_TOGETHER)
        for key, answer in ledger.fetch(keys[first : first + KEYS_TOGETHER]).items()
    }
    found = {question: trial.scores(question, answers) for question in questions}
    scores = {question: score for question, score in found.items() if score is not None}
    harmed_scores = {case: scores[question] for case, question in harmed.items() if question in scores}
    unharmed_scores = {passage: scores[_plain(passage)] for passage in unharmed if _plain(passage) in scores}
    losses = judge_losses(cases, harmed_scores, unharmed_scores)
    return JudgeFindings(
        model.name,
        len(questions),
        len(scores),
        sent,
        {temperature: agreement([_known(same, scores) for same in draws]) for temperature, draws in repeats.items()},
        distribution([*unharmed_scores.values(), *harmed_scores.values()]),
        [detection(kind, " and ".join(FAULT_KINDS[kind].dimensions), values) for kind, values in losses.items()],
    )


def _plain(passage: Passage) -> Question:
    return Question(passage, passage.text)


def _known(questions: Sequence[Question], scores: dict[Question, JudgeScores]) -> list[JudgeScores]:
    return [scores[question] for question in questions if question in scores]
