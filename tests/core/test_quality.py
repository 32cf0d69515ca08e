import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth_assets.core.quality import rank_correlations, spearman, summarise, surprising_and_good
from synth_assets.core.tables import JUDGE_SCORES, PERPLEXITY


def _perplexity(*rows: tuple[str, str, float | None], model: str = "gpt2") -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "merged_id": merged_id,
                "document_id": f"doc-{merged_id}",
                "strategy": strategy,
                "reference_model": model,
                "perplexity": value,
                "bits_per_byte": None if value is None else value / 10,
            }
            for merged_id, strategy, value in rows
        ],
        schema=PERPLEXITY.schema,
    )


def _judged(*rows: tuple[str, float | None, float | None, float | None], judge: str = "judge") -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "merged_id": merged_id,
                "judge_model": judge,
                "coherence": coherence,
                "faithfulness": faithfulness,
                "information_density": density,
            }
            for merged_id, coherence, faithfulness, density in rows
        ],
        schema=JUDGE_SCORES.schema,
    )


SCORED = _perplexity(
    ("a1", "distill", 10.0), ("a2", "distill", 20.0), ("a3", "distill", 60.0), ("a4", "distill", None),
    ("b1", "original", 30.0), ("b2", "original", 40.0), ("b3", "original", 50.0), ("b4", "original", 80.0),
)  # fmt: skip
JUDGED = _judged(("a1", 5, 5, 5), ("a2", 3, 4, 2), ("a3", 4, 5, 3), ("a4", 5, 5, 5), ("b4", 2, 5, 4))


def test_a_strategy_is_summarised_with_both_kinds_of_figures() -> None:
    distill, original = summarise(SCORED, JUDGED)
    assert (distill.strategy, distill.document_count, distill.judged_count) == ("distill", 4, 4)
    assert distill.mean_perplexity == pytest.approx(30)
    assert distill.median_perplexity == pytest.approx(20)
    assert distill.mean_bits_per_byte == pytest.approx(3)
    assert distill.mean_coherence == pytest.approx(17 / 4)
    assert distill.mean_faithfulness == pytest.approx(19 / 4)
    assert distill.mean_information_density == pytest.approx(15 / 4)
    assert distill.surprising_and_good_count == 1
    assert (original.document_count, original.judged_count, original.surprising_and_good_count) == (4, 1, 0)


def test_two_reference_models_are_summarised_apart() -> None:
    both = pa.concat_tables([SCORED, _perplexity(("a1", "distill", 1000.0), model="smollm2")])
    rows = {row.reference_model: row for row in summarise(both, JUDGED) if row.strategy == "distill"}
    assert rows["gpt2"].mean_perplexity == pytest.approx(30)
    assert rows["smollm2"].mean_perplexity == pytest.approx(1000)
    assert (rows["gpt2"].judged_count, rows["smollm2"].judged_count) == (4, 1)


def test_two_judges_are_summarised_apart() -> None:
    strict = _judged(("a1", 1, 1, 1), judge="strict")
    rows = [row for row in summarise(SCORED, pa.concat_tables([JUDGED, strict])) if row.strategy == "distill"]
    assert [(row.judge_model, row.mean_coherence) for row in rows] == [("judge", 17 / 4), ("strict", 1.0)]


def test_a_strategy_that_nobody_judged_has_perplexity_only() -> None:
    rows = summarise(SCORED, JUDGED.slice(0, 0))
    assert [(row.judge_model, row.judged_count, row.mean_coherence) for row in rows] == [(None, 0, None)] * 2
    assert rows[0].mean_perplexity == pytest.approx(30)


def test_nothing_scored_gives_nothing() -> None:
    assert summarise(SCORED.slice(0, 0), JUDGED) == []
    assert rank_correlations(SCORED.slice(0, 0), JUDGED) == []
    nothing = surprising_and_good(SCORED.slice(0, 0), JUDGED)
    assert nothing.texts == []
    assert nothing.answer.startswith("No text")


def test_surprising_and_good_needs_both() -> None:
    # Top quarter of 10, 20, 30, 40, 50, 60, 80 starts at 55: a3 (mean 4) is both, b4 (mean 3.7) is not good enough,
    # a1 (mean 5) is not surprising.
    found = surprising_and_good(SCORED, JUDGED)
    assert [text.merged_id for text in found.texts] == ["a3"]
    assert found.texts[0].mean_score == pytest.approx(4)
    assert found.counts == {("distill", "gpt2", "judge"): (1, 3), ("original", "gpt2", "judge"): (0, 1)}
    assert found.answer.startswith("distill has the most")


def test_surprise_is_measured_within_each_reference_model() -> None:
    other = _perplexity(*((f"b{number}", "original", 1000.0 + number) for number in range(1, 5)), model="smollm2")
    found = surprising_and_good(pa.concat_tables([SCORED, other]), JUDGED)
    assert [(text.merged_id, text.reference_model) for text in found.texts] == [("a3", "gpt2")]


def test_the_most_surprising_come_first_and_no_more_than_asked_for() -> None:
    scored = _perplexity(*((f"m{number:02}", "distill", float(number)) for number in range(40)))
    judged = _judged(*((f"m{number:02}", 5.0, 5.0, 5.0) for number in range(40)))
    found = surprising_and_good(scored, judged, top_n=3)
    assert [text.merged_id for text in found.texts] == ["m39", "m38", "m37"]
    assert found.counts["distill", "gpt2", "judge"] == (10, 40)


def test_the_answer_tells_the_most_from_the_largest_share() -> None:
    many = [(f"m{number}", "distill", 90.0 + number if number < 4 else 1.0) for number in range(12)]
    few = [("k0", "knowledge_list", 99.0)]
    judged = _judged(*((row[0], 4.0, 4.0, 4.0) for row in many + few))
    answer = surprising_and_good(_perplexity(*many, *few), judged).answer
    assert answer == (
        "distill has the most texts that are surprising (gpt2) and good (judge): 3 of 12; "
        "knowledge_list has the largest share: 1 of 1."
    )


def test_correlations_are_per_strategy_and_dimension() -> None:
    scored = _perplexity(*((f"m{number}", "distill", float(number)) for number in range(5)))
    judged = _judged(*((f"m{number}", number / 2 + 1, 5.0 - number, 3.0) for number in range(5)))
    values = {row.dimension: row for row in rank_correlations(scored, judged)}
    assert values["coherence"].correlation == pytest.approx(1)
    assert values["faithfulness"].correlation == pytest.approx(-1)
    assert values["information_density"].correlation is None
    assert values["coherence"].pair_count == 5


def test_a_pair_with_a_missing_figure_is_left_out_of_the_correlation() -> None:
    scored = _perplexity(
        ("m0", "distill", 1.0), ("m1", "distill", 2.0), ("m2", "distill", 3.0), ("m3", "distill", None)
    )
    judged = _judged(("m0", 1, 1, 1), ("m1", 2, None, 2), ("m2", 3, 3, 3), ("m3", 1, 1, 1))
    values = {row.dimension: row for row in rank_correlations(scored, judged)}
    assert (values["coherence"].pair_count, values["faithfulness"].pair_count) == (3, 2)
    assert values["coherence"].correlation == pytest.approx(1)
    assert values["faithfulness"].correlation is None


def test_spearman_agrees_with_a_worked_example_with_ties() -> None:
    # Ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4: Pearson's correlation of these by hand is 0.6324555.
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([20.0, 10, 30, 40])) == pytest.approx(0.6324555)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=3, max_size=30))
def test_spearman_depends_on_order_only_and_is_symmetric(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(side, dtype=np.float64) for side in zip(*pairs, strict=True))
    value = spearman(left, right)
    assert spearman(np.exp(left / 10), right**3) == value
    assert spearman(right, left) == (None if value is None else pytest.approx(value))
    assert value is None or abs(value) <= 1.0000001
