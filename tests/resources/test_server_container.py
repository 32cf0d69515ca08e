from __future__ import annotations

import dataclasses
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException

from resources.errors import ServerError
from resources.fake_server import FakeServer
from resources.server_container import connect, start_container
from resources.server_lifecycle import status, stop
from resources.server_state import read_record
from resources.vllm_presets import CONTAINER_LABEL, CONTAINER_NAME, PRESETS

PRESET = dataclasses.replace(PRESETS["nemotron-3-nano"], plugin=None)
CONTAINER_ID = "c0ffee" * 10


class Engine(ThreadingHTTPServer):
    """As much of the Docker engine's API as one container needs; what it runs is the fake model server."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.created: dict[str, Any] | None = None
        self.labels: dict[str, str] = {}
        self.state = ""
        self.start_error = ""
        self.is_short_lived = False
        self.model_server: FakeServer | None = None
        self.has_ended = threading.Event()

    def run(self) -> None:
        assert self.created is not None
        if self.is_short_lived:
            self.state = "exited"
            self.has_ended.set()
            return
        self.state = "running"
        bound = self.created["HostConfig"]["PortBindings"]["8000/tcp"][0]
        assert bound["HostIp"] == "127.0.0.1"
        self.model_server = FakeServer(port=int(bound["HostPort"]))
        self.model_server.start()

    def end(self) -> None:
        self.state = "exited"
        self.has_ended.set()
        if self.model_server is not None:
            self.model_server.stop()
            self.model_server = None


class Handler(BaseHTTPRequestHandler):
    @property
    def engine(self) -> Engine:
        assert isinstance(self.server, Engine)
        return self.server

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the test's output."""

    def reply(self, status_code: int, body: Any = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status_code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def container(self) -> dict[str, Any]:
        return {
            "Id": CONTAINER_ID,
            "Name": f"/{CONTAINER_NAME}",
            "State": {"Status": self.engine.state},
            "Config": {"Labels": self.engine.labels, "Tty": True},
        }

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.endswith("/version"):
            self.reply(200, {"ApiVersion": "1.44"})
        elif path.endswith("/_ping"):
            self.reply(200, "OK")
        elif "/images/" in path:
            self.reply(200, {"Id": "sha256:1", "RepoTags": [PRESET.image]})
        elif path.endswith("/logs"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"engine says: loading\n")
            self.wfile.flush()
            self.engine.has_ended.wait(30)
        elif "/containers/" in path and self.engine.created is not None:
            self.reply(200, self.container())
        else:
            self.reply(404, {"message": "no such container"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        if path.endswith("/create"):
            created = json.loads(body)
            self.engine.created, self.engine.labels = created, created["Labels"]
            self.reply(201, {"Id": CONTAINER_ID})
        elif path.endswith("/start") and self.engine.start_error:
            self.reply(500, {"message": self.engine.start_error})
        elif path.endswith("/start"):
            self.engine.run()
            self.reply(204)
        else:
            self.engine.end()
            self.reply(204)

    def do_DELETE(self) -> None:
        self.engine.created = None
        self.engine.has_ended.set()
        self.reply(204)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    engine = Engine()
    thread = threading.Thread(target=engine.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{engine.server_address[1]}")
    monkeypatch.setenv("HF_TOKEN", "hf_hidden")
    yield engine
    engine.end()
    engine.shutdown()
    engine.server_close()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def quiet(line: str) -> None:
    """Progress that nobody reads."""


def test_a_container_starts_as_the_preset_says_is_followed_and_removed(
    engine: Engine, tmp_path: Path, port: int
) -> None:
    server = start_container(PRESET, tmp_path, port, timeout_seconds=30, progress=quiet)
    created = engine.created
    assert created is not None
    assert created["Image"] == "vllm/vllm-openai:v0.14.0"
    assert created["Cmd"] == list(PRESET.arguments)
    assert "HF_TOKEN=hf_hidden" in created["Env"]
    assert created["HostConfig"]["IpcMode"] == "host"
    assert created["HostConfig"]["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert created["Labels"] == {CONTAINER_LABEL: "nemotron-3-nano"}
    assert (server.container_id, server.kind, server.processes) == (CONTAINER_ID, "container", ())
    assert status(tmp_path).is_healthy
    assert "hf_hidden" not in (tmp_path / "server.json").read_text()
    assert start_container(PRESET, tmp_path, port, progress=quiet) == server
    assert "Stopped and removed" in stop(tmp_path)
    assert engine.created is None
    assert "nothing to stop" in stop(tmp_path)


def test_a_container_that_ends_while_starting_is_removed(engine: Engine, tmp_path: Path, port: int) -> None:
    engine.is_short_lived = True
    with pytest.raises(ServerError, match="ended after"):
        start_container(PRESET, tmp_path, port, timeout_seconds=30, progress=quiet)
    assert engine.created is None
    assert read_record(tmp_path) is None


def test_an_engine_that_cannot_start_the_image_is_quoted_and_the_name_is_freed(
    engine: Engine, tmp_path: Path, port: int
) -> None:
    engine.start_error = "could not select device driver with capabilities: [[gpu]]"
    with pytest.raises(ServerError, match=r"could not select device driver.*NVIDIA container toolkit"):
        start_container(PRESET, tmp_path, port, timeout_seconds=30, progress=quiet)
    assert engine.created is None


def test_a_container_of_somebody_else_is_neither_stopped_nor_replaced(
    engine: Engine, tmp_path: Path, port: int
) -> None:
    server = start_container(PRESET, tmp_path, port, timeout_seconds=30, progress=quiet)
    engine.labels = {"theirs": "yes"}
    assert "was gone" in stop(tmp_path)
    assert engine.state == "running"
    with pytest.raises(ServerError, match=f"named {CONTAINER_NAME} is there already"):
        start_container(PRESET, tmp_path, port, progress=quiet)
    assert server.container_id == CONTAINER_ID


def test_without_an_engine_the_error_names_the_ways_out(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(ServerError, match=r"No Docker engine answers.*--print"):
        start_container(PRESET, tmp_path, port, progress=quiet)
    assert read_record(tmp_path) is None


def test_a_missing_plugin_is_named_before_anything_is_started(
    engine: Engine, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ServerError, match="nano_v3_reasoning_parser"):
        start_container(PRESETS["nemotron-3-nano"], tmp_path, port, progress=quiet)
    assert engine.created is None


def test_a_real_engine_answers_a_ping() -> None:
    try:
        docker.from_env().ping()
    except DockerException:
        pytest.skip("no Docker engine runs here")
    assert connect().version()["ApiVersion"]
