"""`synth serve`: start, show, or stop the model server."""

from __future__ import annotations

from urllib.parse import urlsplit

import click

from resources.embedded_vllm import vllm_environment
from resources.errors import SettingError
from resources.server_container import start_container
from resources.server_lifecycle import stop
from resources.server_process import start_embedded
from resources.vllm_presets import PRESETS, preset_named, shell_command
from resources.vllm_resource import VLLMResource
from synth_assets.settings import Settings

EMBEDDED, CONTAINER = "smollm2-cpu", "nemotron-3-nano"


def serve_command(docker: bool, preset: str | None, is_list: bool, is_print: bool, is_stop: bool) -> None:
    """Do what the options say; starting waits until the server has answered a test request."""
    settings = Settings.from_environment()
    if is_list:
        for name, entry in PRESETS.items():
            click.echo(f"{name:<24} {'container' if entry.image else 'process':<10} {entry.model}")
        return
    if is_stop:
        click.echo(stop(settings.home))
        return
    chosen = preset_named(preset or (CONTAINER if docker else EMBEDDED))
    port = _port(settings)
    if is_print:
        python = vllm_environment() / "bin" / "python"
        click.echo(shell_command(chosen, port, python, settings.models_dir / "SmolLM2-135M-Instruct"))
        return
    settings.home.mkdir(parents=True, exist_ok=True)
    if chosen.image is None:
        server = start_embedded(settings.home, port, settings.models_dir, progress=click.echo, preset=chosen)
    else:
        server = start_container(chosen, settings.home, port, progress=click.echo)
    trial = VLLMResource(base_url=server.base_url).test_request()
    click.echo(
        f"{server.model} answers at {server.base_url} (test request {trial.wall_seconds:.1f} s). Log: {server.log}"
    )
    click.echo("`synth serve --stop` ends it.")


def _port(settings: Settings) -> int:
    first = urlsplit(settings.vllm_base_url.split(",")[0])
    if first.hostname not in ("127.0.0.1", "localhost"):
        raise SettingError(
            f"VLLM_BASE_URL is {settings.vllm_base_url!r}, which is another machine.",
            "`synth serve` starts a server on this machine only: unset it, or give http://127.0.0.1:PORT/v1.",
        )
    return first.port or 80
