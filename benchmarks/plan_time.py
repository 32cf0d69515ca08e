"""How long the planner takes to say what is stale, over growing numbers of partitions.

A project over an empty lake gets as many partitions as asked for, and each of them a materialization for every
partitioned asset, as a run would have logged them. Then the planner is timed on a fresh snapshot of the event log: once
with nothing stale, once with one changed file. Run: `python benchmarks/plan_time.py 200 1000`.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")

import dagster as dg  # noqa: E402

from resources.testing import FakeEndpoint  # noqa: E402
from synth_assets.assets.keys import BASELINE, CURATOR_FILE, CURATOR_FILES  # noqa: E402
from synth_assets.assets.versions import CODE_VERSION_TAG, DATA_VERSION_TAG, UPSTREAM_TAG, Versions  # noqa: E402
from synth_assets.definitions import project_defs  # noqa: E402
from synth_assets.planning.stale import StalePlanner  # noqa: E402
from synth_assets.project import build_project  # noqa: E402
from synth_assets.settings import Settings  # noqa: E402


class FixedRoots:
    """Roots whose versions are given, so that no file and no server is looked at."""

    def __init__(self, files: dict[str | None, str]) -> None:
        self.files = files

    def of(self, key: dg.AssetKey) -> dict[str | None, str] | None:
        if key == CURATOR_FILES:
            return self.files
        return {None: "model@1"} if key.path[0] == "serving" and key != BASELINE else None


def measure(partition_count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, dg.DagsterInstance.ephemeral(tempdir=folder) as instance:
        settings = Settings.from_environment({"SYNTH_HOME": folder})
        roots = FixedRoots({f"{number:06}.jsonl": "1" for number in range(partition_count)})
        fake = FakeEndpoint()
        project = build_project(settings, roots=roots, rephraser=fake, judge=fake)
        graph = project_defs(project).resolve_asset_graph()
        instance.add_dynamic_partitions(str(CURATOR_FILE.name), [str(name) for name in roots.files])
        for level in graph.toposorted_asset_keys_by_level:
            for key in (key for key in level if graph.get(key).is_materializable):
                versions = Versions(instance, graph, roots)
                for partition in versions.partitions(key):
                    tags = {
                        DATA_VERSION_TAG: "1",
                        CODE_VERSION_TAG: graph.get(key).code_version or "",
                        UPSTREAM_TAG: versions.upstream(key, partition),
                    }
                    instance.report_runless_asset_event(dg.AssetMaterialization(key, partition=partition, tags=tags))
        first = next(iter(roots.files))
        for change in ("nothing stale", "one file changed"):
            if change != "nothing stale":
                roots.files[first] = "2"
            started = time.perf_counter()
            planner = StalePlanner(graph, Versions(instance, graph, roots), project.lake, (BASELINE,))
            stale = planner.everything()
            seconds = time.perf_counter() - started
            partitioned = sum(1 for node in graph.asset_nodes if node.is_materializable and node.partitions_def)
            print(
                f"{partition_count:>7} files x {partitioned} assets = {partition_count * partitioned:>7} "
                f"partition-assets, {change:<17} {len(stale):>4} stale, {seconds:6.2f} s"
            )


if __name__ == "__main__":
    for count in [int(argument) for argument in sys.argv[1:]] or [100, 1000]:
        measure(count)
