"""`synth ui`: Dagster's webserver and daemon on this machine only."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click

from synth_assets.dagster_home import open_instance
from synth_assets.settings import Settings


def ui_command(port: int) -> int:
    """Run until stopped; returns the exit code of the server."""
    settings = Settings.from_environment()
    open_instance(settings.dagster_home).dispose()
    dagster = Path(sys.executable).with_name("dagster")
    click.echo(f"http://127.0.0.1:{port} (Ctrl-C stops it)")
    command = [str(dagster), "dev", "-m", "synth_assets.definitions", "-h", "127.0.0.1", "-p", str(port)]
    environment = {**os.environ, "SYNTH_HOME": str(settings.home)}
    try:
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
    except KeyboardInterrupt:
        return 0
