"""A model server in a container, through the Docker SDK that dagster-docker brings.

In: start, follow the log, tell whether it lives, stop and remove. Out: images and flags (`vllm_presets`),
processes (`server_process`). Only a container that carries this project's label is ever stopped or removed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from resources.errors import ServerError
from resources.server_state import (
    Progress,
    RunningServer,
    fresh_log,
    is_healthy,
    read_record,
    remove_record,
    require_free_port,
    start_lock,
    wait_until_healthy,
    write_record,
)
from resources.vllm_presets import (
    CONTAINER_LABEL,
    CONTAINER_NAME,
    ServerPreset,
    container_arguments,
    ensure_plugin,
)


def start_container(
    preset: ServerPreset,
    home: Path,
    port: int = 8000,
    timeout_seconds: float = 3600.0,
    progress: Progress = print,
) -> RunningServer:
    """Start the preset's container, published on 127.0.0.1:`port`, and return when it is healthy.

    A container of the same preset that is healthy already is returned as it is. The default time limit has
    room for pulling the image and the weights. Raises ServerError when there is no Docker engine, the plugin
    file is missing, the image cannot be had, the port is taken, another server runs, or the server ends or is
    not ready in time.
    """
    home = home.absolute()
    base_url = f"http://127.0.0.1:{port}/v1"
    ensure_plugin(preset)
    with start_lock(home):
        client = connect()
        before = read_record(home)
        if before is not None and before.preset == preset.name and is_healthy(before.base_url):
            progress(f"{preset.model} is served already at {before.base_url}")
            return before
        if _container(client, CONTAINER_NAME) is not None:
            raise ServerError(
                f"A container named {CONTAINER_NAME} is there already.",
                f"Stop it first: `synth serve --stop`, or `docker rm -f {CONTAINER_NAME}`.",
            )
        require_free_port(port)
        log = fresh_log(home)
        progress(f"starting {preset.model} in {preset.image} at {base_url}")
        container = _run(client, preset, port, progress)
        follower = _follow_log(str(container.id), log)
        server = RunningServer(
            preset.name, preset.model, base_url, str(log), "container",
            container_id=str(container.id), started_at_unix_seconds=time.time(),
        )  # fmt: skip
        write_record(home, server)
        try:
            wait_until_healthy(server, lambda: is_container_running(server.container_id), timeout_seconds, progress)
        except BaseException:
            remove_container(server.container_id)
            remove_record(home)
            follower.wait(timeout=10)
            raise
    return server


def connect() -> docker.DockerClient:
    """A client of the Docker engine; raises ServerError where none answers."""
    try:
        client = docker.from_env()
        client.ping()
    except DockerException as error:
        raise ServerError(
            f"No Docker engine answers ({error}).",
            "Start one (`systemctl start docker`) and see that you may use it (group docker, DOCKER_HOST). "
            "--print shows the command to run elsewhere; without --docker you get the embedded server.",
        ) from error
    return client


def is_container_running(container_id: str) -> bool:
    """True while the container runs."""
    container = _container(connect(), container_id)
    return container is not None and container.status in ("created", "running", "restarting")


def remove_container(container_id: str, patience_seconds: int = 10) -> bool:
    """Stop the container (SIGTERM, then SIGKILL) and remove it; False when it is gone, or not one of ours."""
    container = _container(connect(), container_id)
    if container is None or CONTAINER_LABEL not in container.labels:
        return False
    try:
        container.stop(timeout=patience_seconds)
        container.remove(force=True)
    except NotFound:
        return False
    return True


def follow_log(container_id: str, log: Path) -> None:
    """Append the container's output to the log file until the container ends."""
    container = connect().containers.get(container_id)
    with log.open("ab", buffering=0) as stream:
        for part in container.logs(stream=True, follow=True):
            stream.write(part)


def _run(client: docker.DockerClient, preset: ServerPreset, port: int, progress: Progress) -> Any:
    arguments = container_arguments(preset, port)
    try:
        try:
            client.images.get(arguments["image"])
        except ImageNotFound:
            progress(f"pulling the image {preset.image} (many gigabytes)")
            client.images.pull(arguments["image"])
        return client.containers.run(**arguments)
    except APIError as error:
        # A container that was created but could not start, for want of a GPU say, would block the name.
        remove_container(CONTAINER_NAME)
        raise ServerError(
            f"Docker could not start {preset.image}: {error.explanation or error}.",
            "GPUs need the NVIDIA container toolkit on the host; images need access to their registry.",
        ) from error


def _container(client: docker.DockerClient, id_or_name: str) -> Any | None:
    try:
        return client.containers.get(id_or_name)
    except NotFound:
        return None


def _follow_log(container_id: str, log: Path) -> subprocess.Popen[bytes]:
    """A small process that outlives this command: a container's output goes to the engine, not to a file."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "resources.server_container", container_id, str(log)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


if __name__ == "__main__":
    follow_log(sys.argv[1], Path(sys.argv[2]))
