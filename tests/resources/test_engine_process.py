"""The process that sends: it is kept, it ends with whoever started it, and its death is an error that says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from resources import engine_process
from resources.data_designer_generator import DataDesignerGenerator
from resources.errors import ServerError
from resources.inference import ChatMessage, CompletionRequest, SamplingParams
from resources.testing import FAKE_MODEL, Behaviour, FakeServer, Fault

PROGRAM = """
import sys
from resources.data_designer_generator import DataDesignerGenerator
from resources.inference import ChatMessage, CompletionRequest, SamplingParams, ServedModel

request = CompletionRequest("key", (ChatMessage("user", "Say something."),), SamplingParams(0.5, 0.9, 20))
generator = DataDesignerGenerator([sys.argv[1]], ServedModel("fake-model"), "sesame-1234", max_parallel_requests=2)
for completion in generator.generate([request]):
    print(completion.error_kind or "answered", flush=True)
print("data_designer" in sys.modules)
"""


def requests(count: int) -> list[CompletionRequest]:
    sampling = SamplingParams(0.5, 0.9, 20)
    return [CompletionRequest(f"key-{n}", (ChatMessage("user", f"Say {n}."),), sampling) for n in range(count)]


def generator(server: FakeServer) -> DataDesignerGenerator:
    return DataDesignerGenerator([server.base_url], FAKE_MODEL, max_parallel_requests=4)


def workers(process: psutil.Process | None = None) -> list[psutil.Process]:
    children = (process or psutil.Process()).children()
    return [child for child in children if "resources.engine_worker" in child.cmdline()]


def wait_until(holds: Callable[[], object], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(holds())


def start(program: str, *arguments: str, folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def server():
    with FakeServer() as running:
        yield running


def test_the_next_purchase_uses_the_same_process(server):
    list(generator(server).generate(requests(1)))
    before = {worker.pid for worker in workers()}
    assert len(list(generator(server).generate(requests(3)))) == 3

    assert before
    assert {worker.pid for worker in workers()} == before


def test_an_idle_process_that_was_killed_is_replaced(server):
    list(generator(server).generate(requests(1)))
    for worker in workers():
        worker.kill()
        worker.wait()

    assert [completion.error_kind for completion in generator(server).generate(requests(2))] == [None, None]


def test_a_process_that_is_killed_on_the_way_is_an_error_that_says_so_and_what_it_answered_is_kept(server):
    server.behaviour = Behaviour(faults=(Fault("hang", containing="Say 1."),))
    completions = generator(server).generate(requests(2))
    first = next(completions)
    for worker in workers():
        worker.kill()

    with pytest.raises(ServerError, match=r"has ended before all of them were answered.*kept"):
        list(completions)
    assert first.request_key == "key-0"
    server.behaviour = Behaviour()
    assert len(list(generator(server).generate(requests(2)))) == 2


def test_it_ends_with_the_process_that_started_it_and_leaves_nothing(server, tmp_path):
    program = start(PROGRAM, server.base_url, folder=tmp_path)
    output, errors = program.communicate(timeout=60)

    assert output.split() == ["answered", "False"], errors
    assert errors == ""
    assert wait_until(lambda: not list(tmp_path.glob("synth-*")))


def test_it_ends_when_the_process_that_started_it_is_killed(server, tmp_path):
    server.behaviour = Behaviour(faults=(Fault("hang"),))
    program = start(PROGRAM, server.base_url, folder=tmp_path)
    assert wait_until(lambda: server.in_flight == 1, 60.0)
    (worker,) = workers(psutil.Process(program.pid))
    assert "sesame" not in " ".join(worker.cmdline())
    program.send_signal(signal.SIGKILL)
    program.communicate(timeout=60)

    assert wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert wait_until(lambda: server.in_flight == 0)
    assert wait_until(lambda: not list(tmp_path.glob("synth-*/lanes-*")))


def test_an_engine_that_cannot_start_there_says_so_here(server, tmp_path):
    package = tmp_path / "broken" / "data_designer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('no engine here')")
    program = start(PROGRAM, server.base_url, folder=tmp_path, PYTHONPATH=str(tmp_path / "broken"))
    _, errors = program.communicate(timeout=60)

    assert "Data Designer's engine stopped: ImportError: no engine here" in errors


def test_where_no_process_can_be_started_the_error_says_so(server, monkeypatch):
    def refused(*_arguments, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(engine_process, "_idle", [])
    monkeypatch.setattr(engine_process.subprocess, "Popen", refused)

    with pytest.raises(ServerError, match=r"cannot be started.*Resource temporarily unavailable"):
        list(generator(server).generate(requests(1)))


def test_a_package_of_the_same_name_where_it_is_started_is_not_ours(server, tmp_path):
    other = tmp_path / "resources"
    other.mkdir()
    (other / "__init__.py").write_text("raise ImportError('not ours')")
    # `python -c` would look there first.
    program = start(
        "import sys; sys.path.pop(0)\n" + PROGRAM.replace("import sys\n", "", 1), server.base_url, folder=tmp_path
    )
    output, errors = program.communicate(timeout=60)

    assert output.split()[:1] == ["answered"], errors


def test_ctrl_c_in_the_terminal_does_not_reach_it(server):
    list(generator(server).generate(requests(1)))

    assert all(os.getpgid(worker.pid) != os.getpgid(0) for worker in workers())


def test_no_thread_is_left_behind(server):
    list(generator(server).generate(requests(5)))

    assert not [thread for thread in threading.enumerate() if thread.name == "engine-results"]
