"""How long the planner takes to say what is stale, over growing numbers of partitions.

A project over an empty lake gets as many partitions as asked for, and each of them a materialization for every
partitioned asset, as a run would have logged them. Then the planner is timed on a fresh snapshot of the event log: once
with nothing stale, once with one changed file. A second table times what the planner asks the lake: which files' marks
of duplicates are wrong, over a seed of so many rows.

Run: `python benchmarks/plan_time.py 200 2000 --seed-rows 1000000`.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")

import dagster as dg  # noqa: E402
import pyarrow as pa  # noqa: E402
from workbench.project import Figure, report  # noqa: E402

from resources.lake import Lake  # noqa: E402
from resources.testing import FakeEndpoint  # noqa: E402
from synth_assets.assets.keys import BASELINE, CURATOR_FILE, CURATOR_FILES  # noqa: E402
from synth_assets.assets.versions import CODE_VERSION_TAG, DATA_VERSION_TAG, UPSTREAM_TAG, Versions  # noqa: E402
from synth_assets.core.tables import CURATED_DOCUMENTS  # noqa: E402
from synth_assets.definitions import project_defs  # noqa: E402
from synth_assets.planning.stale import StalePlanner, duplicate_staleness  # noqa: E402
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
        record(instance, graph, roots)
        first = next(iter(roots.files))
        for change in ("nothing stale", "one file changed"):
            if change != "nothing stale":
                roots.files[first] = "2"
            started, cpu_started = time.perf_counter(), time.process_time()
            planner = StalePlanner(graph, Versions(instance, graph, roots), project.lake, (BASELINE,))
            stale = planner.everything()
            seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
            partitioned = sum(1 for node in graph.asset_nodes if node.is_materializable and node.partitions_def)
            what = f"plan of {partition_count * partitioned:,} partition-assets, {change}"
            note = f"{partition_count:,} files, {partitioned} assets; {len(stale)} stale; {cpu_seconds:.2f} s of CPU"
            report([Figure(what, f"{seconds:.2f} s", "", None, "", None, note)])


def record(instance: dg.DagsterInstance, graph: dg.AssetGraph, roots: FixedRoots) -> None:
    """Log what a run over everything would have logged, with metadata as large as a real partition's."""
    metadata = {"dagster/partition_row_count": 10, "drops": 0, "token_count": 1000, "example": "A word or two. " * 18}
    for level in graph.toposorted_asset_keys_by_level:
        for key in (key for key in level if graph.get(key).is_materializable):
            versions = Versions(instance, graph, roots)
            for partition in versions.partitions(key):
                tags = {
                    DATA_VERSION_TAG: "1",
                    CODE_VERSION_TAG: graph.get(key).code_version or "",
                    **versions.input_tags(key, partition),
                    UPSTREAM_TAG: versions.upstream(key, partition),
                }
                materialization = dg.AssetMaterialization(key, partition=partition, tags=tags, metadata=metadata)
                instance.report_runless_asset_event(materialization)


def measure_duplicates(row_count: int) -> None:
    """A seed of so many documents in files of 1,000, each tenth a duplicate of the one before."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(f"sqlite:{folder}/catalog.sqlite", f"{folder}/data")
        numbers = range(row_count)
        table = pa.table(
            {
                "document_id": [hashlib.sha256(str(n - (n % 10 == 9)).encode()).hexdigest() for n in numbers],
                "curator_file": [f"{n // 1000:06}.jsonl" for n in numbers],
                "is_duplicate": [n % 10 == 9 for n in numbers],
            }
        )
        lake.append(CURATED_DOCUMENTS.name, table)
        started, cpu_started = time.perf_counter(), time.process_time()
        wrong = duplicate_staleness(lake)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        note = f"{len(wrong)} files wrongly marked; {cpu_seconds:.2f} s of CPU"
        report([Figure(f"duplicates among {row_count:,} seed rows", f"{seconds:.2f} s", "", None, "", None, note)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=int, nargs="*", default=[100, 1000])
    parser.add_argument("--seed-rows", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    for count in arguments.files:
        measure(count)
    for count in arguments.seed_rows:
        measure_duplicates(count)
