"""`synth upgrade`: an older lake becomes one of today's, before anything reads it."""

from __future__ import annotations

import click

from resources.lake_schema import SCHEMA_VERSION
from synth_assets.commands.opening import open_project


def upgrade_command() -> None:
    """Upgrade the lake, where there is one; raises LakeError where it is newer or a step fails."""
    lake = open_project().project.lake
    lake.upgrade()
    state = f"has schema version {SCHEMA_VERSION}" if lake.snapshot_id() is not None else "does not exist yet"
    click.echo(f"The lake {state}.")
