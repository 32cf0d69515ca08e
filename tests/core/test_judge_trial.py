"""A judge's verdicts are counted as they are: what it noticed, and whether it agrees with itself."""

from __future__ import annotations

import json

import pytest

from resources.inference import ServedModel
from resources.testing import FakeGenerator, FakeTokenizer, fake_completion
from synth_assets.core.judge import JUDGE_SAMPLING, JUDGE_SCHEMA, JudgeScores
from synth_assets.core.judge_trial import Question, Trial, agreement, detection, distribution, judge_losses
from synth_assets.core.planted_cases import Passage, PlantedCase

MODEL = ServedModel("judge-model", "1", 4096)
PASSAGE = Passage("Bells 1", "Bells", "The bell of Ghent was cast in 1660. It is called Roland.")


def scores(coherence: float, faithfulness: float, density: float) -> JudgeScores:
    return JudgeScores(coherence, faithfulness, density, "a", "b", "c")


def verdict(value: int) -> str:
    names = ("coherence", "faithfulness", "information_density")
    return json.dumps({name: {"reasoning": "r", "score": value} for name in names})


def test_the_first_question_is_the_call_that_judges_documents_and_further_draws_are_others():
    trial = Trial(MODEL, FakeTokenizer())
    questions = [Question(PASSAGE, PASSAGE.text, temperature, draw) for temperature in (0.0, 0.7) for draw in (0, 1)]
    requests = [trial.requests(question)[0] for question in questions]
    assert requests[0].request.sampling == JUDGE_SAMPLING
    assert requests[0].request.response_schema == JUDGE_SCHEMA
    assert [request.request.sampling.temperature for request in requests] == [0.0, 0.0, 0.7, 0.7]
    assert [request.generation for request in requests] == [0, 1, 0, 1]
    assert len({request.request.request_key for request in requests}) == 4
    assert "1660" in requests[0].request.messages[1].content


def test_a_text_that_does_not_fit_the_context_is_not_asked_about():
    small = Trial(ServedModel("judge-model", "1", 500), FakeTokenizer())
    assert small.requests(Question(PASSAGE, PASSAGE.text)) == []
    assert small.scores(Question(PASSAGE, PASSAGE.text), {}) is None


def test_an_answer_becomes_scores_and_none_where_it_is_missing_or_no_verdict():
    trial = Trial(MODEL, FakeTokenizer())
    question = Question(PASSAGE, "Something else.")
    [planned] = trial.requests(question)
    [answer] = FakeGenerator(lambda request: verdict(4)).generate([planned.request])
    found = trial.scores(question, {answer.request_key: answer})
    assert found is not None
    assert (found.coherence, found.faithfulness, found.information_density) == (4, 4, 4)
    assert trial.scores(question, {}) is None
    broken = fake_completion(planned.request, "no JSON")
    assert trial.scores(question, {broken.request_key: broken}) is None


def test_agreement_compares_every_pair_of_judgements_of_one_text():
    repeats = [[scores(5, 4, 3), scores(5, 2, 3), scores(5, 4, 1)], [scores(1, 1, 1)]]
    found = {row.dimension: row for row in agreement(repeats)}
    assert {row.pair_count for row in found.values()} == {3}
    assert found["coherence"].exact_share == 1
    assert found["faithfulness"].exact_share == pytest.approx(1 / 3)
    assert found["faithfulness"].mean_absolute_difference == pytest.approx(4 / 3)
    assert agreement([[scores(1, 1, 1)]]) == []


def test_the_distribution_counts_each_score():
    found = distribution([scores(5, 4, 3), scores(5, 2, 3)])
    assert found["coherence"] == {1: 0, 2: 0, 3: 0, 4: 0, 5: 2}
    assert found["faithfulness"] == {1: 0, 2: 1, 3: 0, 4: 1, 5: 0}


def test_a_fault_counts_by_the_dimension_it_concerns():
    number, order = PlantedCase("swapped_number", PASSAGE, "a"), PlantedCase("shuffled_sentences", PASSAGE, "b")
    unjudged = PlantedCase("filler", PASSAGE, "c")
    harmed = {number: scores(1, 5, 1), order: scores(2, 5, 5)}
    losses = judge_losses([number, order, unjudged], harmed, {PASSAGE: scores(4, 5, 4)})
    # A judge that only dislikes the harmed text's coherence has not noticed the number.
    assert losses["swapped_number"] == [0]
    assert losses["shuffled_sentences"] == [2]
    assert losses["filler"] == []


def test_detection_tells_noticed_alike_and_wrong_way_apart():
    found = detection("filler", "information_density", [1, 0.5, 0, -2])
    assert (found.case_count, found.detected_count, found.tie_count, found.wrong_way_count) == (4, 2, 1, 1)
    assert found.rate == 0.5
    assert detection("filler", "information_density", []).rate == 0
