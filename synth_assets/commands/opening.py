"""What every command opens first: settings, project, Dagster instance."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from synth_assets.dagster_home import open_instance
from synth_assets.definitions import project_defs
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
        """The asset graph."""
        return self.definitions.resolve_asset_graph()

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's storage under SYNTH_HOME."""
        return open_instance(self.project.settings.dagster_home)

    @cached_property
    def read_only_instance(self) -> dg.DagsterInstance:
        """For commands that write nothing: an empty one in memory where nothing was ever run here."""
        if (self.project.settings.dagster_home / "history").exists():
            return self.instance
        return dg.DagsterInstance.ephemeral()


def open_project() -> Opened:
    """Read the settings and put the project together; raises SettingError before anything else happens."""
    logging.getLogger("dagster").setLevel(logging.ERROR)
    return Opened(build_project(Settings.from_environment()))
