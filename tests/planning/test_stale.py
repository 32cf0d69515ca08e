"""What counts as stale, on small graphs whose assets only count: no corpus, no model, no server."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from resources.lake import Lake
from synth_assets.assets.keys import CURATOR_FILE, ONE_RUN
from synth_assets.assets.versions import UPSTREAM_TAG, PartitionVersions, Versions
from synth_assets.planning.stale import StalePlanner

ROOT, SEED, MADE, MERGED, TOTAL = (dg.AssetKey(name) for name in ("root", "seed", "made", "merged", "total"))
Codes = Mapping[dg.AssetKey, str]


@dataclass
class Files:
    """The root of the graph: file names with their content, changed by hand."""

    content: dict[str, str] = field(default_factory=dict)

    def of(self, key: dg.AssetKey) -> PartitionVersions | None:
        return dict(self.content) if key == ROOT else None


@dataclass
class World:
    """Root files → seed → made → merged, a partition for each file, and a total that reduces over merged.

    The data version of `seed` is its file's content without whitespace, so that a change can stop there.
    """

    instance: dg.DagsterInstance
    lake: Lake
    files: Files = field(default_factory=Files)
    codes: dict[dg.AssetKey, str] = field(default_factory=dict)
    excluded: Collection[dg.AssetKey] = ()

    _graphs: dict[str, dg.AssetGraph] = field(default_factory=dict)

    @property
    def graph(self) -> dg.AssetGraph:
        """The definitions as the code versions make them."""
        state = str(sorted(self.codes.items()))
        if state not in self._graphs:
            self._graphs[state] = self._build_graph()
        return self._graphs[state]

    def _build_graph(self) -> dg.AssetGraph:
        def partitioned(key: dg.AssetKey, parent: dg.AssetKey) -> dg.AssetSpec:
            return dg.AssetSpec(key, deps=[parent], partitions_def=CURATOR_FILE, code_version=self.codes.get(key, "1"))

        specs = [partitioned(SEED, ROOT), partitioned(MADE, SEED), partitioned(MERGED, MADE)]
        total = dg.AssetSpec(TOTAL, deps=[MERGED], code_version=self.codes.get(TOTAL, "1"))

        def materializable(spec: dg.AssetSpec) -> dg.AssetsDefinition:
            policy = ONE_RUN if spec.partitions_def else None

            @dg.multi_asset(specs=[spec], name="_".join(spec.key.path), backfill_policy=policy)
            def asset() -> None:
                """Never run: the tests report what a run would have materialized."""

            return asset

        root = dg.AssetSpec(ROOT, partitions_def=CURATOR_FILE)
        return dg.Definitions([root, *map(materializable, [*specs, total])]).resolve_asset_graph()

    def versions(self) -> Versions:
        return Versions(self.instance, self.graph, self.files)

    def planner(self) -> StalePlanner:
        return StalePlanner(self.graph, self.versions(), self.lake, self.excluded)

    def put(self, **content: str) -> None:
        """Write files; new ones get a partition."""
        self.files.content.update(content)
        known = set(self.instance.get_dynamic_partitions("curator_file"))
        if new := [name for name in content if name not in known]:
            self.instance.add_dynamic_partitions("curator_file", new)

    def remove(self, name: str) -> None:
        del self.files.content[name]
        self.instance.delete_dynamic_partition("curator_file", name)

    def stale(self) -> dict[str, dict[str | None, str]]:
        """Reasons of everything that is stale by itself, by asset and partition."""
        planner = self.planner()
        found = {key.to_user_string(): planner.stale(key) for level in planner.levels() for key in level}
        return {name: {item.partition: item.reason for item in items} for name, items in found.items() if items}

    def below(self) -> set[tuple[str, str | None]]:
        """What a run would reach at most."""
        return {(item.asset.to_user_string(), item.partition) for item in self.planner().everything()}

    def run(self) -> list[tuple[str, str | None]]:
        """Materialize what is stale, level by level, as a run does; returns what was materialized."""
        done = []
        for level in self.planner().levels():
            versions = self.versions()
            planner = StalePlanner(self.graph, versions, self.lake, self.excluded)
            for key in level:
                for item in planner.stale(key):
                    self._materialize(versions, key, item.partition)
                    done.append((key.to_user_string(), item.partition))
        return done

    def _materialize(self, versions: Versions, key: dg.AssetKey, partition: str | None) -> None:
        tags = {
            "dagster/data_version": self._data_version(versions, key, partition),
            "dagster/code_version": versions._graph.get(key).code_version or "",
            UPSTREAM_TAG: versions.upstream(key, partition),
        }
        self.instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, tags=tags))

    def _data_version(self, versions: Versions, key: dg.AssetKey, partition: str | None) -> str:
        if key == SEED:
            return self.files.content[str(partition)].replace(" ", "")
        [(parent, _)] = versions.parents(key, partition)
        return "|".join(f"{name}:{version}" for name, version in sorted(versions.data_versions(parent).items(), key=str)
                        if partition in (None, name))  # fmt: skip


@pytest.fixture
def world(tmp_path: Path):
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        yield World(instance, Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data"))


def test_at_first_everything_is_missing_and_after_a_run_nothing_is_stale(world):
    world.put(a="1", b="2")
    missing = {"a": "missing", "b": "missing"}
    assert world.stale() == {"seed": missing, "made": missing, "merged": missing, "total": {None: "missing"}}
    assert len(world.run()) == 7
    assert world.stale() == {}
    assert world.run() == []


def test_a_new_file_makes_its_own_partitions_missing_and_no_other(world):
    world.put(a="1", b="2")
    world.run()
    world.put(c="3")
    missing = {"c": "missing"}
    assert {name: items for name, items in world.stale().items() if name != "total"} == {
        "seed": missing, "made": missing, "merged": missing
    }  # fmt: skip
    assert world.run() == [("seed", "c"), ("made", "c"), ("merged", "c"), ("total", None)]


def test_a_changed_code_version_makes_every_partition_of_that_asset_stale(world):
    world.put(a="1", b="2")
    world.run()
    world.codes[MADE] = "2"
    assert world.stale() == {"made": {"a": "code", "b": "code"}}


def test_a_changed_file_is_stale_at_once_only_where_it_is_read_and_below_once_that_was_done(world):
    world.put(a="1", b="2")
    world.run()
    world.put(a="changed")
    assert world.stale() == {"seed": {"a": "data"}}
    assert world.below() == {("seed", "a"), ("made", "a"), ("merged", "a"), ("total", None)}
    assert world.run() == [("seed", "a"), ("made", "a"), ("merged", "a"), ("total", None)]


def test_a_change_that_leaves_the_rows_as_they_were_stops_there(world):
    world.put(a="some words", b="2")
    world.run()
    world.put(a="somewords")
    assert world.run() == [("seed", "a")]
    assert world.stale() == {}


def test_new_code_that_makes_the_same_rows_stops_there(world):
    world.put(a="1")
    world.run()
    world.codes[MADE] = "2"
    assert world.run() == [("made", "a")]


def test_content_that_comes_back_is_a_change_like_any_other(world):
    world.put(a="1")
    world.run()
    for content in ("2", "1"):
        world.put(a=content)
        assert len(world.run()) == 4


def test_a_partition_that_is_gone_makes_the_reducer_stale(world):
    world.put(a="1", b="2")
    world.run()
    world.remove("b")
    assert world.stale() == {"total": {None: "data"}}
    assert world.run() == [("total", None)]
    assert world.run() == []


def test_an_excluded_asset_is_never_stale(world):
    world.put(a="1")
    world.excluded = (TOTAL,)
    assert all(name != "total" for name, _ in world.run())
    assert world.stale() == {}


@pytest.mark.parametrize("count", [15, 150])
def test_a_change_in_one_of_many_partitions_reaches_the_reducer(world, count):
    """Dagster's own answer is silent from 100 upstream partitions on."""
    names = [f"{number:03}" for number in range(count)]
    world.put(**dict.fromkeys(names, "1"))
    assert len(world.run()) == 3 * count + 1
    assert world.stale() == {}
    last = names[-1]
    world.put(**{last: "2"})
    assert world.run() == [("seed", last), ("made", last), ("merged", last), ("total", None)]
    world.remove(names[0])
    assert world.stale() == {"total": {None: "data"}}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.sampled_from(["x", "y", "x "])),
        st.tuples(st.just("remove"), st.sampled_from("abc"), st.just("")),
        st.tuples(st.just("code"), st.sampled_from(["seed", "made", "total"]), st.sampled_from("12")),
    ),
    max_size=6,
)


@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
@given(rounds=st.lists(steps, min_size=1, max_size=3))
def test_whatever_happens_a_run_does_what_the_plan_said_at_most_and_leaves_nothing_stale(rounds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        world = World(instance, Lake(f"sqlite:{folder}/lake/catalog.sqlite", f"{folder}/lake/data"))
        for round_ in rounds:
            for kind, name, value in round_:
                if kind == "put":
                    world.put(**{name: value})
                elif kind == "code":
                    world.codes[dg.AssetKey(name)] = value
                elif name in world.files.content:
                    world.remove(name)
            planned = world.below()
            done = world.run()
            assert set(done) <= planned
            assert len(set(done)) == len(done)
            assert world.stale() == {}
