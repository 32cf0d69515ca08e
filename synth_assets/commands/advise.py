"""`synth advise`: what to set the model server to, from its measured throughput and the roofline."""

from __future__ import annotations

from dataclasses import asdict

import click

from resources.errors import SynthError
from synth_assets.cli import emit
from synth_assets.commands.opening import open_project
from synth_assets.core.serving_advice import ServerSettings
from synth_assets.reporting.serving_data import serving_advice


def advise_command(as_json: bool) -> None:
    """Print concurrency, division of the GPUs and what limits; SynthError where the server was never measured."""
    project = open_project().project
    settings = project.settings
    current = ServerSettings(settings.max_parallel_requests, settings.server_count)
    advice = serving_advice(project.lake, settings.hardware, current, project.rephraser.known_model())
    if advice is None:
        raise SynthError("The server's throughput has not been measured yet.", "Run `synth baseline` first.")
    if as_json:
        emit(asdict(advice))
        return
    click.echo(f"{advice.model}, costs for {advice.hardware}")
    for sentence in advice.sentences:
        click.echo(f"- {sentence}")
