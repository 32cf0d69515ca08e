"""The record of a started server under SYNTH_HOME, and what starting any server has in common.

In: `server.json`, the log file, waiting until healthy, the check for a free port. Out: how a process or a
container is started and stopped (`server_process`, `server_container`).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import httpx
from tenacity import Retrying, stop_after_delay, wait_fixed

from resources.errors import ServerError

Progress = Callable[[str], None]
_LOG_LINES_SHOWN = 25


@dataclass(frozen=True)
class ProcessMark:
    """A process that is not mistaken for a later one with its number: pid, and seconds from boot to start."""

    pid: int
    started_after_boot_seconds: float


@dataclass(frozen=True)
class RunningServer:
    """A server that this project started.

    `processes` is empty for a container, `container_id` for a process.
    """

    preset: str
    model: str
    base_url: str
    log: str
    kind: Literal["process", "container"]
    processes: tuple[ProcessMark, ...] = ()
    container_id: str = ""
    started_at_unix_seconds: float = 0.0


@dataclass(frozen=True)
class ServerStatus:
    """What `synth serve` knows of the server of one SYNTH_HOME.

    `server` is None where none was started or left.
    """

    server: RunningServer | None
    is_running: bool
    is_healthy: bool


def log_path(home: Path) -> Path:
    """Where every server of this home writes its log."""
    return home / "logs" / "vllm.log"


def fresh_log(home: Path) -> Path:
    """An empty log file; the one before is kept as `vllm.previous.log`."""
    log = log_path(home)
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name("vllm.previous.log"))
    log.touch()
    return log


def log_tail(log: Path, lines: int = _LOG_LINES_SHOWN) -> str:
    """The log's last lines."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def read_record(home: Path) -> RunningServer | None:
    """The server that was started and not stopped; None where there is none or the file is unreadable."""
    try:
        fields = json.loads((home / "server.json").read_text())
        marks = tuple(ProcessMark(**mark) for mark in fields.pop("processes"))
        return RunningServer(processes=marks, **fields)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(home: Path, server: RunningServer) -> None:
    """Replace the record in one step."""
    temporary = home / f"server.json.{os.getpid()}"
    temporary.write_text(json.dumps(asdict(server), indent=1))
    temporary.replace(home / "server.json")


def remove_record(home: Path) -> None:
    """Forget the server."""
    (home / "server.json").unlink(missing_ok=True)


@contextmanager
def start_lock(home: Path) -> Iterator[None]:
    """One start at a time in a home; the operating system takes the lock back when its holder dies."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def require_free_port(port: int) -> None:
    """Raise ServerError when something listens on 127.0.0.1:`port` and goes on to for two seconds.

    A killed server counts as gone when its first thread is, and its other threads hold the port a moment longer.
    """
    try:
        for attempt in Retrying(stop=stop_after_delay(2), wait=wait_fixed(0.1), reraise=True):
            with attempt, socket.socket() as probe:
                # As servers do, so that a port whose connections are still closing counts as free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
    except OSError as error:
        raise ServerError(
            f"Port {port} on 127.0.0.1 cannot be used: {error.strerror}.",
            f"If a model server runs there, attach to it (VLLM_BASE_URL=http://127.0.0.1:{port}/v1); "
            f"otherwise name another port, such as VLLM_BASE_URL=http://127.0.0.1:{port + 1}/v1.",
        ) from error


def is_healthy(base_url: str, timeout_seconds: float = 5.0) -> bool:
    """True when the server behind an OpenAI base URL says that it can answer requests."""
    try:
        address = base_url.removesuffix("/v1") + "/health"
        # A proxy in the environment is not for this machine's own servers.
        return httpx.get(address, timeout=timeout_seconds, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def wait_until_healthy(
    server: RunningServer, is_alive: Callable[[], bool], timeout_seconds: float, progress: Progress
) -> None:
    """Return once the server is healthy, reporting every 10 s; else raise ServerError with the log's end."""
    started = reported = time.monotonic()
    while not is_healthy(server.base_url):
        waited_seconds = time.monotonic() - started
        mishap = ""
        if not is_alive():
            mishap = f"The server ended after {waited_seconds:.0f} s, before it was ready."
        elif waited_seconds > timeout_seconds:
            mishap = f"The server was not ready after {timeout_seconds:.0f} s and was stopped."
        if mishap:
            tail = log_tail(Path(server.log))
            raise ServerError(f"{mishap} Its log ends with:\n{tail}\n", f"The whole log: {server.log}")
        if time.monotonic() - reported >= 10:
            reported = time.monotonic()
            progress(f"loading the model, {waited_seconds:.0f} s so far (log: {server.log})")
        time.sleep(0.5)
    progress(f"ready after {time.monotonic() - started:.0f} s at {server.base_url}")
