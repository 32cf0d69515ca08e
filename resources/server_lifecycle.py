"""Stop and status of whatever server a SYNTH_HOME started, process or container."""

from __future__ import annotations

from pathlib import Path

from resources.errors import ServerError
from resources.server_container import is_container_running, remove_container
from resources.server_process import alive, stop_processes
from resources.server_state import ServerStatus, is_healthy, read_record, remove_record


def stop(home: Path, patience_seconds: float = 10.0) -> str:
    """End the server of this home and say what was done; nothing to stop is no error.

    SIGTERM first, SIGKILL after `patience_seconds`. Raises ServerError for a container whose engine does not
    answer.
    """
    server = read_record(home)
    if server is None:
        return f"No server was started from {home}; nothing to stop."
    name = f"{server.model} at {server.base_url}"
    if server.kind == "container":
        was_there = remove_container(server.container_id, int(patience_seconds))
        report = f"Stopped and removed the container of {name}." if was_there else f"The container of {name} was gone."
    elif not alive(server.processes):
        report = f"{name} had ended already."
    else:
        had_to_kill = stop_processes(server.processes, patience_seconds)
        report = f"Stopped {name}" + (f", by SIGKILL after {patience_seconds:.0f} s." if had_to_kill else ".")
    remove_record(home)
    return report


def status(home: Path) -> ServerStatus:
    """The server of this home: what was started, whether it runs, whether it answers."""
    server = read_record(home)
    if server is None:
        return ServerStatus(server=None, is_running=False, is_healthy=False)
    if server.kind == "container":
        try:
            is_running = is_container_running(server.container_id)
        except ServerError:
            is_running = False
    else:
        is_running = bool(alive(server.processes))
    return ServerStatus(server, is_running, is_running and is_healthy(server.base_url))
