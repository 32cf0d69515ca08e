"""What Dagster is told: the shape of the graph, what every asset declares, and what can be replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

import resources
from resources.lake import Lake
from synth_assets.assets.keys import CURATOR_FILE
from synth_assets.definitions import build_defs
from synth_assets.project import build_project
from synth_assets.settings import Settings
from synth_assets.strategies import discover

REPOSITORY = Path(__file__).parents[1]
STRATEGIES = discover()
REPHRASED = {f"rephrased/{strategy.name}" for strategy in STRATEGIES}
SEED = "seed/curated_documents"

# Asset: its group, whether one partition is one Curator file, and its parents.
SHAPE: dict[str, tuple[str, bool, set[str]]] = {
    "curator/files": ("curator", True, set()),
    "serving/rephraser": ("serving", False, set()),
    "serving/judge": ("serving", False, set()),
    "serving/hardware": ("serving", False, set()),
    "serving/perplexity_reference": ("serving", False, set()),
    "serving/baseline": ("serving", False, {"serving/rephraser"}),
    "evaluation/sets": ("evaluation", False, set()),
    SEED: ("seed", True, {"curator/files", "evaluation/sets"}),
    "seed/profile": ("seed", False, {SEED}),
    **{name: ("rephrased", True, {SEED, "serving/rephraser", "evaluation/sets"}) for name in REPHRASED},
    "merged/documents": ("merged", True, {SEED, *REPHRASED}),
    "merged/multistrategy": ("merged", True, {SEED, *REPHRASED}),
    "metrics/perplexity": ("metrics", True, {"merged/documents", "serving/perplexity_reference"}),
    "metrics/signatures": ("metrics", True, {"merged/documents"}),
    "metrics/text_quality": ("metrics", True, {"merged/documents"}),
    "metrics/source_support": ("metrics", True, {"merged/documents", "serving/perplexity_reference"}),
    "merged/near_duplicates": ("merged", False, {"metrics/signatures"}),
    "metrics/judge_scores": ("metrics", True, {"merged/documents", "serving/judge"}),
    "reports/waste": (
        "reports", False,
        {"merged/documents", "metrics/judge_scores", "merged/near_duplicates", "serving/hardware"},
    ),
    "reports/cost": (
        "reports", False, {"merged/documents", "metrics/judge_scores", "reports/waste", "serving/hardware"},
    ),
    "reports/estimates": ("reports", False, {"merged/documents", "metrics/judge_scores"}),
    "reports/quality": ("reports", False, {"metrics/perplexity", "metrics/judge_scores"}),
    "reports/html": (
        "reports", False,
        {SEED, "merged/documents", "merged/near_duplicates", "metrics/text_quality", "reports/cost", "reports/quality",
         "reports/waste", "reports/estimates",
         "serving/baseline"},
    ),
    "export/multistrategy": ("export", False, {"merged/multistrategy"}),
    "experiments/proxy_pretraining": ("experiments", False, {"merged/documents", "merged/near_duplicates"}),
}  # fmt: skip

FILES_NOT_TABLES = {"reports/html", "export/multistrategy"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "corpus").mkdir()
    return Settings.from_environment(
        {"SYNTH_HOME": str(tmp_path / "home"), "CURATOR_OUTPUT_DIR": str(tmp_path / "corpus")}
    )


@pytest.fixture
def graph(settings: Settings) -> dg.AssetGraph:
    return build_defs(settings=settings).resolve_asset_graph()


def names(keys: Any) -> set[str]:
    return {key.to_user_string() for key in keys}


def nodes(graph: dg.AssetGraph, is_materializable: bool = True) -> list[Any]:
    return [node for node in graph.asset_nodes if node.is_materializable or not is_materializable]


def test_the_graph_has_this_shape(graph: dg.AssetGraph) -> None:
    found = {
        node.key.to_user_string(): (node.group_name, node.partitions_def == CURATOR_FILE, names(node.parent_keys))
        for node in nodes(graph, is_materializable=False)
    }
    assert found == SHAPE


def test_what_is_not_per_file_has_no_partitions_at_all(graph: dg.AssetGraph) -> None:
    partitioned = {node.key.to_user_string() for node in nodes(graph, is_materializable=False) if node.is_partitioned}
    assert partitioned == {name for name, (_, is_partitioned, _) in SHAPE.items() if is_partitioned}


def test_files_models_and_evaluation_sets_are_looked_at_and_never_materialized(graph: dg.AssetGraph) -> None:
    made = {node.key.to_user_string() for node in nodes(graph)}
    roots = {name for name, (_, _, parents) in SHAPE.items() if not parents}
    assert made == set(SHAPE) - roots


def test_defining_everything_writes_nothing(settings: Settings) -> None:
    build_defs(settings=settings).resolve_asset_graph()
    assert not settings.home.exists()


@pytest.mark.parametrize("name", sorted(name for name, (_, _, parents) in SHAPE.items() if parents))
def test_each_asset_says_what_it_is(graph: dg.AssetGraph, name: str) -> None:
    node = graph.get(dg.AssetKey.from_user_string(name))
    assert node.code_version
    assert node.description
    assert node.kinds
    if name not in FILES_NOT_TABLES:
        schema = node.metadata["dagster/column_schema"]
        assert len(schema.columns) > 1
        assert node.metadata["dagster/table_name"] == f"lake.{name.replace('/', '.')}"
        has_file_column = "curator_file" in [column.name for column in schema.columns]
        assert has_file_column or not node.is_partitioned


def test_a_backfill_of_any_partitioned_asset_is_one_run(graph: dg.AssetGraph) -> None:
    policies = {node.key: node.backfill_policy for node in nodes(graph) if node.is_partitioned}
    assert set(policies.values()) == {dg.BackfillPolicy.single_run()}, policies


def test_no_two_strategies_share_a_code_version(graph: dg.AssetGraph) -> None:
    versions = {graph.get(dg.AssetKey.from_user_string(name)).code_version for name in REPHRASED}
    assert len(versions) == len(STRATEGIES)


def test_there_is_one_job_and_every_sensor_is_off_until_it_is_wanted(settings: Settings) -> None:
    repository = build_defs(settings=settings).get_repository_def()
    sensors = {sensor.name: sensor for sensor in repository.sensor_defs}
    assert set(sensors) == {"curator_outputs", "curator_partitions", "automation"}
    assert sensors["curator_outputs"].job_name == "bring_up_to_date"
    assert {sensor.default_status for sensor in sensors.values()} == {dg.DefaultSensorStatus.STOPPED}
    assert repository.has_job("bring_up_to_date")


def test_dagster_accepts_the_workspace_file(tmp_path: Path) -> None:
    # A folder that is not the repository: nothing may depend on where Dagster is started.
    command = [
        Path(sys.executable).with_name("dagster"),
        "definitions",
        "validate",
        "-w",
        REPOSITORY / "workspace.yaml",
    ]
    environment = {**os.environ, "SYNTH_HOME": str(tmp_path / "home")}
    environment.pop("DAGSTER_HOME", None)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Validation successful for code location synth_assets" in done.stdout + done.stderr


def test_resources_is_the_package_of_this_project() -> None:
    assert Path(resources.__file__).resolve() == REPOSITORY / "resources" / "__init__.py"


def test_any_resource_can_be_replaced_by_name(settings: Settings) -> None:
    for name in set(build_project(settings).resources) - {"settings"}:
        # What other resources take from the replaced one when they are made, and nothing else.
        fake = SimpleNamespace(catalog="sqlite:/x", data_path="/x", generator=None, identity=None, folder="/x")
        definitions = build_defs({name: fake}, settings)
        with dg.build_resources({name: (definitions.resources or {})[name]}) as bound:
            assert getattr(bound, name) is fake, name


def test_tables_go_to_the_lake_that_was_put_in(
    settings: Settings, tmp_path: Path, make_article: Callable[..., dict[str, Any]]
) -> None:
    other = Lake(f"sqlite:{tmp_path}/other/catalog.sqlite", str(tmp_path / "other" / "data"))
    definitions = build_defs({"lake": other}, settings)
    write_corpus(settings, [make_article(1), make_article(2)])
    materialize(definitions, tmp_path, "seed/curated_documents", "a.jsonl")
    materialize(definitions, tmp_path, "seed/profile", None)
    assert other.query("SELECT count(*) AS n FROM seed.curated_documents")["n"].to_pylist() == [2]
    assert other.query("SELECT count(*) AS n FROM seed.profile")["n"].to_pylist() == [2]
    assert not (settings.home / "lake").exists()


def test_a_new_strategy_gets_its_table_its_place_in_the_merge_and_its_checks(settings: Settings) -> None:
    plain = next(strategy for strategy in STRATEGIES if strategy.wire_model is None)
    limerick = replace(plain, name="limerick", description="Each document as a limerick.")
    before = build_defs({"strategies": list(STRATEGIES)}, settings).resolve_asset_graph()
    after = build_defs({"strategies": [*STRATEGIES, limerick]}, settings).resolve_asset_graph()

    key = dg.AssetKey(["rephrased", "limerick"])
    assert after.get_all_asset_keys() - before.get_all_asset_keys() == {key}
    assert names(after.get(key).child_keys) == {"merged/documents", "merged/multistrategy"}
    assert names(after.get(key).parent_keys) == {SEED, "serving/rephraser", "evaluation/sets"}
    wide = after.get(dg.AssetKey(["merged", "multistrategy"])).metadata["dagster/column_schema"]
    assert "limerick" in [column.name for column in wide.columns]
    checks = {check.name for check in after.asset_check_keys - before.asset_check_keys if check.asset_key == key}
    assert checks == {
        "documents_in_equal_rows_plus_drops", "every_partition_was_made", "few_answers_are_truncated",
        "few_documents_are_dropped", "most_documents_survive"
    }  # fmt: skip


def test_a_strategy_with_a_schema_is_checked_for_its_structure(graph: dg.AssetGraph) -> None:
    checked = {key.asset_key.path[1] for key in graph.asset_check_keys if key.name == "every_row_has_its_structure"}
    assert checked == {strategy.name for strategy in STRATEGIES if strategy.wire_model is not None}


def write_corpus(settings: Settings, documents: list[dict[str, Any]]) -> None:
    lines = [json.dumps(document) + "\n" for document in documents]
    (settings.curator_output_dir / "a.jsonl").write_text("".join(lines))


def materialize(definitions: dg.Definitions, folder: Path, name: str, partition: str | None) -> None:
    job = definitions.resolve_implicit_global_asset_job_def()
    selected = job.get_subset(asset_selection={dg.AssetKey.from_user_string(name)})
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        instance.add_dynamic_partitions(str(CURATOR_FILE.name), ["a.jsonl"])
        assert selected.execute_in_process(instance=instance, partition_key=partition).success
