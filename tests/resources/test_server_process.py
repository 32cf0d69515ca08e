from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from resources.embedded_vllm import prepared_smollm2, vllm_python
from resources.errors import ServerError, SynthError
from resources.server_lifecycle import status, stop
from resources.server_process import alive, start_embedded, start_process, stop_processes
from resources.server_state import ProcessMark, RunningServer, log_path, read_record, write_record
from resources.throughput import measure_throughput
from resources.vllm_presets import PRESETS
from resources.vllm_resource import VLLMResource

PRESET = PRESETS["smollm2-cpu"]
REPOSITORY = Path(__file__).parents[2]
FAKE_SERVER = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from resources.testing import main; main()"
Start = Callable[..., RunningServer]


def free_port() -> int:
    """Below the range that the system gives to outgoing connections: another test's would take it in between."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randint(20_000, 32_000)
            probe.bind(("127.0.0.1", port))
            return port


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    home.mkdir()
    yield home
    stop(home, patience_seconds=0.5)


@pytest.fixture
def start(home: Path) -> Start:
    """Starts the fake server in a process of its own, as the real one is started."""

    def start(port: int, argv: list[str] | None = None, timeout_seconds: float = 60.0) -> RunningServer:
        argv = argv or [sys.executable, "-c", FAKE_SERVER, "--port", str(port)]
        return start_process(argv, home, port, PRESET, timeout_seconds, lambda line: None)

    return start


def test_a_started_server_answers_is_recorded_and_ends_on_stop(home: Path, start: Start) -> None:
    server = start(free_port())
    assert VLLMResource(base_url=server.base_url).is_up()
    assert read_record(home) == server
    seen = status(home)
    assert (seen.is_running, seen.is_healthy) == (True, True)
    assert "Stopped" in stop(home)
    assert not alive(server.processes)
    assert status(home).server is None
    assert "nothing to stop" in stop(home)


def test_starting_again_returns_the_running_server(start: Start) -> None:
    port = free_port()
    assert start(port) == start(port)


def test_a_second_server_of_the_same_home_is_refused(start: Start) -> None:
    start(free_port())
    with pytest.raises(ServerError, match="synth serve --stop"):
        start(free_port())


def test_a_server_that_was_killed_is_seen_and_replaced(home: Path, start: Start) -> None:
    port = free_port()
    first = start(port)
    os.kill(first.processes[0].pid, signal.SIGKILL)
    psutil.wait_procs(alive(first.processes), timeout=10)
    assert not status(home).is_running
    second = start(port)
    assert second.processes != first.processes
    assert status(home).is_healthy


def test_a_taken_port_is_named(start: Start, home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServerError, match=rf"Port {port} .*VLLM_BASE_URL"):
            start(port)
    assert read_record(home) is None


def test_a_server_that_dies_while_starting_shows_the_end_of_its_log(start: Start, home: Path) -> None:
    dying = [sys.executable, "-c", "import sys; print('loading'); sys.exit('no such model')"]
    with pytest.raises(ServerError, match=r"ended after .*\n(.*\n)*no such model\n"):
        start(free_port(), dying)
    assert read_record(home) is None
    assert "no such model" in log_path(home).read_text()


def test_a_server_that_is_not_ready_in_time_is_stopped_with_its_children(start: Start, home: Path) -> None:
    stubborn = (
        "import signal, subprocess, sys, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_DFL);"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print('child', child.pid, flush=True); time.sleep(600)"
    )
    with pytest.raises(ServerError, match="not ready after 2 s"):
        start(free_port(), [sys.executable, "-c", stubborn], timeout_seconds=2)
    child = int(log_path(home).read_text().split()[1])
    assert not psutil.pid_exists(child)


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    mark = mark_of(process.pid)
    assert stop_processes([mark], patience_seconds=0.3)
    assert not alive([mark])
    assert not stop_processes([mark])
    process.stdout.close()


def test_a_recycled_pid_is_never_signalled(home: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    mark = mark_of(bystander.pid)
    earlier = dataclasses.replace(mark, started_after_boot_seconds=mark.started_after_boot_seconds - 60)
    write_record(home, RunningServer("smollm2-cpu", "m", "http://127.0.0.1:1/v1", "", "process", (earlier,)))
    try:
        assert not status(home).is_running
        assert "had ended already" in stop(home)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_worker_that_outlives_its_parent_is_stopped_too(home: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys, time\n"
         "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
         "print(child.pid, flush=True); time.sleep(600)"], stdout=subprocess.PIPE,
    )  # fmt: skip
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    marks = (mark_of(parent.pid), mark_of(worker))
    parent.kill()
    parent.wait()
    write_record(home, RunningServer("smollm2-cpu", "m", "http://127.0.0.1:1/v1", "", "process", marks))
    assert status(home).is_running
    stop(home)
    assert not alive(marks)
    parent.stdout.close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"processes": 1}', '{"processes": [], "unknown": 1}'])
def test_an_unreadable_record_counts_as_none(home: Path, content: str) -> None:
    (home / "server.json").write_text(content)
    assert status(home).server is None
    assert "nothing to stop" in stop(home)


def test_the_log_of_the_run_before_is_kept(home: Path, start: Start) -> None:
    start(free_port())
    stop(home)
    log_path(home).write_text("first run")
    start(free_port())
    assert (home / "logs" / "vllm.previous.log").read_text() == "first run"
    assert "first run" not in log_path(home).read_text()


@pytest.mark.real_server
def test_the_embedded_server_starts_answers_and_stops(home: Path) -> None:
    try:
        vllm_python()
        prepared_smollm2()
    except SynthError as error:
        pytest.skip(str(error))
    lines: list[str] = []
    server = start_embedded(home, free_port(), progress=lines.append)
    resource = VLLMResource(base_url=server.base_url)
    model = resource.served_model()
    assert (model.name, model.max_model_len, len(model.revision)) == ("SmolLM2-135M-Instruct", 4096, 32)
    assert resource.test_request(max_tokens=8).completion_tokens <= 8
    prompts = [f"{number}. Name a planet." for number in range(8)]
    sample = measure_throughput(server.base_url, model.name, prompts, 16, concurrency=8)
    assert sample.completion_tokens > 8
    assert resource.metrics()["vllm:generation_tokens_total"] >= sample.completion_tokens
    assert len(server.processes) > 1
    assert "Stopped" in stop(home)
    assert not alive(server.processes)
    assert "ready after" in lines[-1]


def mark_of(pid: int) -> ProcessMark:
    return ProcessMark(pid, psutil.Process(pid).create_time() - psutil.boot_time())
