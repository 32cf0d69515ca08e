"""The plan's numbers against what the run that follows sends."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resources.fake_answers import TEMPLATE_TOKENS_PER_MESSAGE
from resources.inference import ServedModel
from resources.testing import Behaviour, Fault
from synth_assets.assets.versions import Versions
from synth_assets.core.request_planning import CHAT_TEMPLATE_TOKENS
from synth_assets.core.strategy import AnswerContext
from synth_assets.definitions import project_defs
from synth_assets.planning.estimate import Estimate, estimate_run
from synth_assets.planning.files import file_changes
from synth_assets.planning.stale import StalePlanner
from synth_assets.planning.strategy_plan import StrategyPlan, total_plan
from synth_assets.strategies import discover

STRATEGIES = discover()


def estimated(workplace) -> Estimate:
    """What `synth plan` would say now."""
    project = workplace.project()
    graph = project_defs(project).resolve_asset_graph()
    versions = Versions(workplace.instance, graph, project.roots)
    changes = file_changes(versions)
    planned = versions.with_partitions({*changes.new, *changes.changed, *changes.unchanged})
    return estimate_run(project, StalePlanner(graph, planned, project.lake).everything())


def plans(workplace) -> dict[str, StrategyPlan]:
    """Its lines of the strategies."""
    return estimated(workplace).strategies


def shorten(answer: str, context: AnswerContext) -> str:
    """A clean-up rule that no strategy has; no request depends on it."""
    return answer.rstrip(".")


@pytest.fixture
def filled(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1), make_article(2, words=600)])
    workplace.write("b.jsonl", [make_article(3), make_article(1)])
    return workplace


def test_the_plan_foretells_requests_and_prompt_tokens_within_the_template_allowance(filled):
    planned, judge = plans(filled), estimated(filled).judge
    filled.run()
    bought = filled.rows(
        "SELECT strategy, count(*) n, sum(prompt_tokens)::BIGINT tokens FROM ledger.completions GROUP BY 1"
    )
    actual = {row["strategy"]: row for row in bought}
    allowance = CHAT_TEMPLATE_TOKENS - 2 * TEMPLATE_TOKENS_PER_MESSAGE
    for name, plan in planned.items():
        assert plan.to_generate == actual[name]["n"]
        assert plan.answered_from_ledger == 0
        assert plan.prompt_tokens == actual[name]["tokens"] + allowance * plan.to_generate
        assert plan.low_completion_tokens < plan.completion_tokens < plan.high_completion_tokens
        assert plan.low_cost_usd < plan.cost_usd < plan.high_cost_usd
        assert plan.low_wall_seconds < plan.wall_seconds < plan.high_wall_seconds
        assert plan.estimate_source == "prior"
    assert judge.to_generate == actual["judge"]["n"]
    assert judge.prompt_tokens == pytest.approx(actual["judge"]["tokens"], rel=0.4)


def test_after_the_run_nothing_is_left_and_a_new_rule_is_answered_from_the_ledger(filled):
    before = plans(filled)["distill"]
    filled.run()
    done = estimated(filled)
    assert total_plan(done.strategies.values())["documents"] == 0
    assert done.judge is None
    filled.overrides["strategies"] = [
        replace(strategy, rules=(*strategy.rules, shorten)) if strategy.name == "distill" else strategy
        for strategy in STRATEGIES
    ]
    after = plans(filled)["distill"]
    assert (after.to_generate, after.answered_from_ledger, after.cost_usd) == (0, before.to_generate, 0)
    [bought] = filled.rows(
        "SELECT sum(prompt_tokens)::BIGINT AS prompts, sum(completion_tokens)::BIGINT AS answers "
        "FROM ledger.completions WHERE strategy = 'distill'"
    )
    assert (after.avoided_prompt_tokens, after.avoided_completion_tokens) == (bought["prompts"], bought["answers"])
    assert after.avoided_cost_usd > 0
    assert after.segments == before.segments == before.to_generate
    # Every text that would be made anew has been judged.
    assert estimated(filled).judge.to_generate == 0


def test_planning_sends_no_request(filled):
    plans(filled)
    assert filled.server.request_count == 0


def test_the_total_is_the_sum_over_the_strategies(filled):
    planned = plans(filled)
    total = total_plan(planned.values())
    for column in ("to_generate", "prompt_tokens", "completion_tokens", "cost_usd"):
        assert total[column] == pytest.approx(sum(getattr(plan, column) for plan in planned.values())) != 0


def test_a_judge_that_does_not_fit_the_hardware_is_planned_and_budgeted_on_as_many_gpus_as_it_needs(filled):
    """The bill does the same: COST_HARDWARE is the rephraser's, the judge may be a large model elsewhere."""
    small, large = ServedModel("Qwen3-0.6B", max_model_len=8192), ServedModel("Llama-3.3-70B", max_model_len=8192)
    filled.server.models = (small, large)
    filled.environment |= {"VLLM_MODEL": small.name, "JUDGE_MODEL": large.name, "COST_HARDWARE": "1xL40S"}
    judge = estimated(filled).judge
    filled.environment["COST_HARDWARE"] = "4xL40S"
    assert judge.cost_usd == pytest.approx(estimated(filled).judge.cost_usd) != 0
    filled.environment |= {"COST_HARDWARE": "1xL40S", "MAX_USD": "100"}
    summary, project = filled.run()
    assert (summary.failed, summary.errors) == ([], [])
    assert project.purchases.budget.spent_usd > judge.low_cost_usd


def test_the_judge_is_expected_to_read_as_many_texts_as_the_gates_have_let_through(workplace, make_article):
    workplace.overrides["strategies"] = [strategy for strategy in STRATEGIES if strategy.name == "distill"]
    workplace.write("a.jsonl", [make_article(number) for number in range(24)])
    assert estimated(workplace).judge.to_generate == 24
    workplace.server.behaviour = Behaviour(faults=(Fault("refuse", every=4),))
    workplace.environment["JUDGE_SHARE"] = "0"
    workplace.run()
    workplace.environment["JUDGE_SHARE"] = "1"
    workplace.write("b.jsonl", [make_article(number) for number in range(100, 140)])
    assert estimated(workplace).judge.to_generate == pytest.approx((24 + 40) * 18 / 24, abs=1)


def test_the_judges_share_is_what_is_judged(filled):
    whole = estimated(filled).judge
    filled.environment["JUDGE_SHARE"] = "0.5"
    half = estimated(filled).judge
    assert half.to_generate == pytest.approx(whole.to_generate / 2, abs=1)
    filled.environment["JUDGE_SHARE"] = "0"
    assert estimated(filled).judge is None
