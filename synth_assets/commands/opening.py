"""What every command opens first: settings, project, Dagster instance."""

from __future__ import annotations

import gc
import logging
from dataclasses import dataclass, replace
from functools import cached_property

import dagster as dg

from synth_assets.assets.history import History, InstanceHistory, NoHistory
from synth_assets.assets.sqlite_history import open_sqlite_history
from synth_assets.dagster_home import open_instance
from synth_assets.definitions import project_defs, table_defs
from synth_assets.project import Project, build_project
from synth_assets.settings import Settings


@dataclass
class Opened:
    """One command's project; the Dagster parts are opened when they are first used."""

    project: Project

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The definitions over the project's resources."""
        return project_defs(self.project)

    @cached_property
    def graph(self) -> dg.AssetGraph:
        """The asset graph. Jobs and sensors add nothing to it."""
        return table_defs(self.project).resolve_asset_graph()

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's storage under SYNTH_HOME."""
        return open_instance(self.project.settings.dagster_home)

    @cached_property
    def history(self) -> History:
        """What Dagster's storage holds, for commands that write nothing: none is made where nothing was ever run."""
        folder = self.project.settings.dagster_home
        if not (folder / "history").exists():
            return NoHistory()
        return open_sqlite_history(folder) or InstanceHistory(self.instance)


def keep_what_is_loaded() -> None:
    """The garbage collector leaves alone what there is now: one walk over all imports would take 0.13 s."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def open_project(max_usd: float | None = None, max_gpu_hours: float | None = None) -> Opened:
    """Read the settings and put the project together; raises SettingError before anything else happens.

    A limit that is given takes the place of its setting, MAX_USD or MAX_GPU_HOURS; the other one holds as it is.
    """
    keep_what_is_loaded()
    logging.getLogger("dagster").setLevel(logging.ERROR)
    # It logs a trace of Ctrl-C where that comes while a connection is closed, and raises it as well.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    settings = Settings.from_environment()
    if max_usd is not None:
        settings = replace(settings, max_usd=max_usd)
    if max_gpu_hours is not None:
        settings = replace(settings, max_gpu_hours=max_gpu_hours)
    return Opened(build_project(settings))
