"""150 files work as 15 do: Dagster's own limit of 100 upstream partitions is not felt."""

from __future__ import annotations

import pytest

from synth_assets.definitions import project_defs
from synth_assets.planning.run import RunSelection, StaleRunner
from synth_assets.strategies import discover

FILE_COUNT = 150
DISTILL = next(strategy for strategy in discover() if strategy.name == "distill")
TABLES = {"seed/curated_documents", "rephrased/distill", "merged/documents"}
REDUCED = "seed/profile"


@pytest.fixture
def run(workplace):
    """Runs what reduces over all files and the partitioned assets above the metrics; what was made, what was sent."""
    workplace.overrides["strategies"] = [DISTILL]

    def made() -> tuple[set[tuple[str, str | None]], int]:
        project = workplace.project()
        definitions = project_defs(project)
        keys = definitions.resolve_asset_graph().get_all_asset_keys()
        others = [key for key in keys if key.to_user_string() not in {*TABLES, REDUCED}]
        before = workplace.server.request_count
        summary = StaleRunner(project, definitions, workplace.instance).run(RunSelection((), (), others))
        assert (summary.failed, summary.errors) == ([], [])
        done = {(key.to_user_string(), partition) for key, partition in summary.materialized}
        return done, workplace.server.request_count - before

    return made


def test_one_edited_file_of_many_is_made_anew_alone_and_seen_by_what_reduces_over_all(workplace, make_article, run):
    names = [f"{number:03}.jsonl" for number in range(FILE_COUNT)]
    for number, name in enumerate(names):
        workplace.write(name, [make_article(number)])
    made, sent = run()
    assert made == {(table, name) for table in TABLES for name in names} | {(REDUCED, None)}
    assert sent == FILE_COUNT

    workplace.write(names[-1], [make_article(FILE_COUNT)])
    made, sent = run()
    assert made == {(table, names[-1]) for table in TABLES} | {(REDUCED, None)}
    assert sent == 1

    (workplace.corpus / names[0]).unlink()
    made, sent = run()
    assert (made, sent) == ({(REDUCED, None)}, 0)
    counted = workplace.rows("SELECT document_count n FROM seed.profile WHERE curator_file IS NULL")
    assert counted == [{"n": FILE_COUNT - 1}]
    assert run() == (set(), 0)
