"""The embedded server as a process of this machine: start it, tell whether it lives, stop it.

In: everything with a pid. Out: containers (`server_container`), the commands themselves (`vllm_presets`), and
the choice between the two (`server_lifecycle`). A pid that another program got in the meantime is never
signalled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil

from resources.embedded_vllm import prepared_smollm2, vllm_environment, vllm_python
from resources.errors import ServerError
from resources.server_state import (
    ProcessMark,
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
from resources.vllm_presets import PRESETS, ServerPreset, process_argv

_OWN_SETTINGS = (
    "VLLM_BASE_URL",
    "VLLM_MODEL",
    "VLLM_MAX_PARALLEL_REQUESTS",
    "PYTHONPATH",
    "PYTHONHOME",
    "VIRTUAL_ENV",
)
"""Meant for this project alone: vLLM would warn about the first three and break on the others."""
_CLOCK_TOLERANCE_SECONDS = 1.0
_ORPHAN_PATIENCE_SECONDS = 2.0


def start_embedded(
    home: Path,
    port: int = 8000,
    models_dir: Path | None = None,
    timeout_seconds: float = 300.0,
    progress: Progress = print,
    preset: ServerPreset = PRESETS["smollm2-cpu"],
) -> RunningServer:
    """Start vLLM on the CPU, bound to 127.0.0.1, and return when it is healthy (45 s on 2 cores).

    A server of this home that is healthy already is returned as it is. Raises ServerError when the
    environment or the weights are missing, the port is taken, another server runs, or this one ends or is not
    ready in time.
    """
    python, model_path = vllm_python(), prepared_smollm2(models_dir)
    argv = process_argv(preset, python, model_path, port)
    return start_process(argv, home, port, preset, timeout_seconds, progress)


def start_process(
    argv: Sequence[str],
    home: Path,
    port: int,
    preset: ServerPreset,
    timeout_seconds: float,
    progress: Progress,
) -> RunningServer:
    """Start `argv` as the server of this home, in a session of its own; errors as `start_embedded`."""
    home = home.absolute()
    base_url = f"http://127.0.0.1:{port}/v1"
    with start_lock(home):
        before = read_record(home)
        if before is not None and (before.kind == "container" or alive(before.processes)):
            if before.base_url == base_url and before.preset == preset.name and is_healthy(base_url):
                progress(f"{preset.model} is served already at {base_url}")
                return before
            raise ServerError(
                f"A server started from {home} is there already: {before.preset} at {before.base_url}.",
                "Stop it first: `synth serve --stop`.",
            )
        require_free_port(port)
        log = fresh_log(home)
        progress(f"starting {preset.model} at {base_url}")
        with log.open("ab") as stream:
            process = subprocess.Popen(  # noqa: S603
                argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, cwd=home,
                env=_environment(preset), start_new_session=True,
            )  # fmt: skip
        server = RunningServer(
            preset.name, preset.model, base_url, str(log), "process", _marks(process.pid),
            started_at_unix_seconds=time.time(),
        )  # fmt: skip
        # Before the wait: a start that is killed can still be stopped.
        write_record(home, server)
        try:
            wait_until_healthy(server, lambda: process.poll() is None, timeout_seconds, progress)
            # With the workers it has by now: they are stopped too, should their parent be killed.
            server = replace(server, processes=_marks(process.pid))
            write_record(home, server)
        except BaseException:
            stop_processes(_marks(process.pid) or server.processes)
            remove_record(home)
            raise
    return server


def alive(marks: Sequence[ProcessMark]) -> list[psutil.Process]:
    """Those of the marked processes that still run."""
    return [process for mark in marks if (process := _process(mark)) is not None]


def stop_processes(marks: Sequence[ProcessMark], patience_seconds: float = 10.0) -> bool:
    """End the first of the processes, then what is left of the others; True when it took SIGKILL. Idempotent."""
    found = alive(marks)
    # Workers that came after the marks were taken go with their parent.
    family = list({process.pid: process for known in found for process in (known, *_children(known))}.values())
    # The first ends its workers itself, in order; only what it leaves behind is told directly.
    for group, group_patience_seconds in ((family[:1], patience_seconds), (family[1:], _ORPHAN_PATIENCE_SECONDS)):
        for process in group:
            _signal(process, signal.SIGTERM)
        psutil.wait_procs(group, timeout=group_patience_seconds)
    left = [process for process in family if _is_running(process)]
    for process in left:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(left, timeout=patience_seconds)
    return bool(left)


def _marks(pid: int) -> tuple[ProcessMark, ...]:
    """A process, then its descendants."""
    try:
        leader = psutil.Process(pid)
        return tuple(ProcessMark(process.pid, _age_mark(process)) for process in (leader, *_children(leader)))
    except psutil.Error:
        return ()


def _age_mark(process: psutil.Process) -> float:
    """Seconds from boot to start: unlike a time of day, no change of the clock moves it."""
    return process.create_time() - psutil.boot_time()


def _process(mark: ProcessMark) -> psutil.Process | None:
    try:
        process = psutil.Process(mark.pid)
        is_same = abs(_age_mark(process) - mark.started_after_boot_seconds) < _CLOCK_TOLERANCE_SECONDS
        return process if is_same and _is_running(process) else None
    except psutil.Error:
        return None


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _environment(preset: ServerPreset) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in _OWN_SETTINGS}
    environment.update(preset.environment or {})
    # vLLM calls ninja and other tools of its own environment by name.
    environment["PATH"] = f"{vllm_environment() / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment
