"""`synth report`: bring the report up to date with the tables and print its path."""

from __future__ import annotations

import click

from synth_assets.assets.keys import COST, ESTIMATES, WASTE
from synth_assets.assets.reports import HTML_KEY, QUALITY_KEY
from synth_assets.commands.opening import open_project
from synth_assets.planning.run import QUIET


def report_command() -> None:
    """Materialize the reports from what is in the lake; buys nothing."""
    opened = open_project()
    job = opened.definitions.resolve_implicit_global_asset_job_def()
    for keys in ({WASTE, ESTIMATES, QUALITY_KEY}, {COST}, {HTML_KEY}):
        job.get_subset(asset_selection=keys).execute_in_process(
            instance=opened.instance, run_config=QUIET, raise_on_error=True
        )
    click.echo(opened.project.settings.reports_dir / "report.html")
