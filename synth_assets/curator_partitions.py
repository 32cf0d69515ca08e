"""The sensor that keeps partitions and observations in step with the Curator folder and the model servers.

In: one look each tick. Out: runs, which declarative automation (`automation`) asks for from what was observed here.
The rules for waiting until a file is whole are those of the other sensor (`settled_files`).
"""

import time
from collections.abc import Mapping
from dataclasses import replace

import dagster as dg
from dagster import DagsterInstance

from synth_assets.assets.keys import CURATOR_FILES
from synth_assets.assets.roots import observe_roots
from synth_assets.assets.versions import PartitionVersions, RootVersions, Versions
from synth_assets.core.documents import CuratorFileError
from synth_assets.observed_roots import ObservedRoots
from synth_assets.planning.files import FileChanges, file_changes, partitioned_tables, synchronise_partitions
from synth_assets.project import Project
from synth_assets.settled_files import Memory, settle

CURATOR_PARTITIONS = "curator_partitions"


class SettledRoots:
    """`RootVersions` of whole files, as just looked at, and of the live models."""

    def __init__(self, files: Mapping[str, str], live: RootVersions) -> None:
        self._files: PartitionVersions = {**files}
        self._live = live

    def of(self, key: dg.AssetKey) -> PartitionVersions | None:
        """Version by partition of a root; None where the key is no root."""
        return self._files if key == CURATOR_FILES else self._live.of(key)


def build_curator_partitions(project: Project, tables: dg.Definitions) -> dg.SensorDefinition:
    """The sensor over a project; `tables` are its definitions without jobs and sensors."""

    @dg.sensor(
        name=CURATOR_PARTITIONS,
        minimum_interval_seconds=15,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description=f"Observes files of {project.curator} and the models; adds and retires partitions; no runs.",
    )
    def curator_partitions(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        before = Memory.of(context.cursor)
        files = project.curator.files()
        look = settle(files, before, time.time(), project.curator.has_whole_files_only)
        look_at_models(project)
        known = ObservedRoots(context.instance, project.lake).of(CURATOR_FILES) or {}
        # A file that is still being written keeps the version that was observed before, also where the cursor is new.
        versions = {str(name): version for name, version in known.items() if name in files}
        settled = dict(look.memory.settled)
        news = [name for name in settled if settled[name] != before.settled.get(name) or name not in known]
        for name in news:
            try:
                versions[name] = project.curator.version(name, files[name])
            except CuratorFileError as error:
                context.log.warning(f"{error} It is looked at again on the next tick.")
                del settled[name]
        changes = synchronise(context.instance, tables, project, versions)
        if news:
            project.curator.save_cache()
        changed = (*changes.new, *changes.changed, *changes.deleted)
        if changed:
            context.log.info(f"{len(changed)} file(s) to materialize or retire: {', '.join(changed[:5])}")
        waiting = f"; {look.being_written} still being written" if look.being_written else ""
        reason = f"{len(news)} file(s) looked at, {len(changed)} to materialize or retire{waiting}"
        return dg.SensorResult(skip_reason=reason, cursor=replace(look.memory, settled=settled).cursor())

    return curator_partitions


def look_at_models(project: Project) -> None:
    """Ask the servers what they serve now: this process outlives their models."""
    for endpoint in (project.rephraser, project.judge):
        endpoint.forget()
        endpoint.remember()
    project.roots.forget()


def synchronise(
    instance: DagsterInstance, tables: dg.Definitions, project: Project, versions: Mapping[str, str]
) -> FileChanges:
    """What `synth run` does first, for the files that are whole: add and retire partitions, observe what is new."""
    graph = tables.resolve_asset_graph()
    roots = SettledRoots(versions, project.roots)
    changes = file_changes(Versions(instance, graph, roots))
    synchronise_partitions(instance, project.lake, changes, partitioned_tables(graph))
    observe_roots(instance, roots)
    return changes
