"""Asset checks on real tables: each passes on what a run makes, and fails on what it is there to find."""

from __future__ import annotations

import dagster as dg
import pytest

from synth_assets.assets.check_outcomes import BLOCKING_CHECKS
from synth_assets.assets.checks import build_checks
from synth_assets.assets.quality_checks import build_quality_checks
from synth_assets.strategies import discover

STRATEGIES = discover()


@pytest.fixture
def made(workplace, make_article):
    workplace.write("a.jsonl", [make_article(1), make_article(2)])
    workplace.run()
    return workplace


def results(workplace) -> dict[tuple[str, str], bool]:
    """Outcome of every check on the tables, by asset and name."""
    checks = build_checks(STRATEGIES)
    found = {}
    for check in checks:
        for key in check.check_keys:
            if key.name == "every_partition_was_made":
                continue  # It reads the event log of a run, not the tables.
            outcome = check(workplace.lake)
            assert isinstance(outcome, dg.AssetCheckResult)
            found[".".join(key.asset_key.path), key.name] = outcome.passed
    return found


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
