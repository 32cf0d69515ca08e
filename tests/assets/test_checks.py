"""Asset checks on real tables: each passes on what a run makes, and fails on what it is there to find."""

from __future__ import annotations

import pytest

from synth_assets.assets.check_outcomes import BLOCKING_CHECKS
from synth_assets.assets.checks import build_checks
from synth_assets.assets.quality_checks import build_quality_checks
from synth_assets.definitions import project_defs
from synth_assets.strategies import discover

STRATEGIES = discover()


@pytest.fixture
def made(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1), make_article(2)])
    workplace.run()
    return workplace


def results(workplace) -> dict[tuple[str, str], bool]:
    """Outcome of every check on the tables, by asset and name, as a run that evaluates nothing else has it."""
    definitions = project_defs(workplace.project())
    job = definitions.resolve_implicit_global_asset_job_def()
    keys = {key for check in build_checks(STRATEGIES) for key in check.check_keys}
    subset = job.get_subset(asset_selection=set(), asset_check_selection=keys)
    result = subset.execute_in_process(instance=workplace.instance, raise_on_error=False)
    return {
        (".".join(evaluation.asset_key.path), evaluation.check_name): evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }


def test_every_strategy_is_checked_for_completeness_and_truncation_and_structure_where_it_has_one():
    names = {(key.asset_key.path[-1], key.name) for check in build_checks(STRATEGIES) for key in check.check_keys}
    for strategy in STRATEGIES:
        assert (strategy.name, "documents_in_equal_rows_plus_drops") in names
        assert (strategy.name, "few_answers_are_truncated") in names
        assert ((strategy.name, "every_row_has_its_structure") in names) == (strategy.wire_model is not None)


def test_every_blocking_check_is_known_by_its_name_to_whoever_makes_a_partition():
    checks = [*build_checks(STRATEGIES), *build_quality_checks()]
    blocking = {spec.name for check in checks for spec in check.check_specs if spec.blocking}
    assert blocking == set(BLOCKING_CHECKS)


def test_checks_find_what_they_are_there_for_and_nothing_else(made):
    assert {key for key, passed in results(made).items() if not passed} <= {
        ("metrics.judge_scores", "faithfulness_is_above_the_floor")
    }
    before = results(made)
    made.lake.delete(
        "rephrased.distill", {"document_id": made.rows("SELECT document_id d FROM rephrased.distill")[0]["d"]}
    )
    made.lake.append("merged.documents", made.lake.read("merged.documents"))
    after = results(made)
    assert {key for key in after if before[key] and not after[key]} == {
        ("rephrased.distill", "documents_in_equal_rows_plus_drops"),
        ("merged.documents", "rows_are_unique"),
    }
