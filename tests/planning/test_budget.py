"""A run with too small a budget: what it pays for is made, the rest is named, and a later run buys only that."""

from __future__ import annotations

import pytest

from synth_assets.assets.keys import MERGED, table_key
from synth_assets.assets.measured import prices_of
from synth_assets.commands.run import _budget_as_json, _say_what_the_budget_left
from synth_assets.core.budget import TYPICAL_COMPLETION_TOKENS, TYPICAL_PROMPT_TOKENS
from synth_assets.core.tables import rephrased

DISTILL = table_key(rephrased("distill"))
MAX_OUTPUT_TOKENS = 200
DOCUMENTS = 46


@pytest.fixture
def price(workplace):
    """What a token costs in the workplace."""
    project = workplace.project()
    settings = project.settings
    return prices_of(project.lake, project.rephraser.known_model(), settings.hardware, settings.requests_in_flight)


def test_a_run_ends_before_its_budget_is_exceeded_and_the_next_one_completes_it(workplace, make_article, price, capsys):
    workplace.write("a.jsonl", [make_article(number) for number in range(3)])
    workplace.write("b.jsonl", [make_article(number) for number in range(3, DOCUMENTS)])
    workplace.environment |= {"JUDGE_SHARE": "0", "MAX_OUTPUT_TOKENS": str(MAX_OUTPUT_TOKENS)}
    limit = price.gpu_hours(9 * TYPICAL_PROMPT_TOKENS, 9 * TYPICAL_COMPLETION_TOKENS)
    workplace.environment["MAX_GPU_HOURS"] = str(limit)

    summary, project = workplace.run(strategies=["distill"])

    budget, bought = project.purchases.budget, workplace.server.request_count
    [used] = workplace.rows(
        "SELECT sum(prompt_tokens)::BIGINT AS prompts, sum(completion_tokens)::BIGINT AS answers "
        "FROM ledger.completions"
    )
    assert price.gpu_hours(used["prompts"], used["answers"]) == pytest.approx(budget.spent_gpu_hours)
    assert 0 < budget.spent_gpu_hours <= limit
    assert budget.is_reached
    assert 3 < bought < DOCUMENTS
    # The file that was paid for is made; nothing of the other one is.
    assert (DISTILL, "a.jsonl") in summary.materialized
    assert (DISTILL, "b.jsonl") in summary.failed
    made = workplace.rows("SELECT curator_file, count(*) AS n FROM rephrased.distill GROUP BY 1")
    assert [row["curator_file"] for row in made] == ["a.jsonl"]
    assert project.purchases.missing_answers == {("rephrased.distill", "b.jsonl"): DOCUMENTS - bought}
    assert any("b.jsonl" in error and "budget" in error for error in summary.errors)
    assert _budget_as_json(project.purchases)["missing_answers"][0]["answers"] == DOCUMENTS - bought
    _say_what_the_budget_left(project.purchases)
    assert f"rephrased.distill b.jsonl: {DOCUMENTS - bought} answers" in capsys.readouterr().err

    del workplace.environment["MAX_GPU_HOURS"]
    summary, project = workplace.run(strategies=["distill"])
    assert (summary.failed, summary.errors) == ([], [])
    assert workplace.server.request_count == DOCUMENTS
    assert _budget_as_json(project.purchases) is None
    assert workplace.rows("SELECT count(*) AS n FROM rephrased.distill") == [{"n": DOCUMENTS}]


def test_what_a_budget_has_bought_is_billed_also_where_no_table_above_the_bill_is_whole(workplace, make_article, price):
    workplace.write("a.jsonl", [make_article(number) for number in range(DOCUMENTS)])
    limit = price.gpu_hours(9 * TYPICAL_PROMPT_TOKENS, 9 * TYPICAL_COMPLETION_TOKENS)
    workplace.environment |= {
        "JUDGE_SHARE": "0", "MAX_OUTPUT_TOKENS": str(MAX_OUTPUT_TOKENS), "MAX_GPU_HOURS": str(limit),
    }  # fmt: skip
    summary, _ = workplace.run(strategies=["distill"], has_reports=True)
    assert (MERGED, "a.jsonl") not in summary.materialized
    billed = "SELECT requests FROM reports.cost WHERE strategy = 'distill'"
    assert workplace.rows(billed) == [{"requests": workplace.server.request_count}]

    summary, _ = workplace.run(strategies=["distill"], has_reports=True)
    assert workplace.rows(billed) == [{"requests": workplace.server.request_count}], "the bill follows each pass"
