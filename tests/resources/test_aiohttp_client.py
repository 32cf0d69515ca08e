"""One POST over real sockets: what comes through, and what each way of failing is called in httpx's terms."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest

from resources.aiohttp_client import AiohttpClient

BODY = {"messages": [{"role": "user", "content": "Grüße, \ud800 und 東京"}], "n": 1}
PATIENT = httpx.Timeout(30.0)
HASTY = httpx.Timeout(30.0, connect=0.2, read=0.2)

Answer = Callable[[socket.socket], None]


class RawServer(socketserver.ThreadingTCPServer):
    """Reads one request, keeps its first line and body, and lets `answer` write whatever bytes it likes."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.first_lines: list[str] = []
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/chat/completions"


class _Handler(socketserver.StreamRequestHandler):
    server: RawServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def handle(self) -> None:
        self.server.first_lines.append(self.rfile.readline().decode().strip())
        length = 0
        while header := self.rfile.readline().decode().strip():
            if header.lower().startswith("content-length:"):
                length = int(header.split(":")[1])
        self.server.bodies.append(self.rfile.read(length))
        self.server.answer(self.connection)


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[RawServer]:
    with RawServer(answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def says(status: str, content: bytes = b"{}", *headers: str) -> Answer:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers])
    return lambda connection: connection.sendall(head.encode() + b"\r\n\r\n" + content)


def post(url: str, timeout: httpx.Timeout = PATIENT) -> httpx.Response:
    async def once() -> httpx.Response:
        client = AiohttpClient()
        try:
            return await client.post(url, json=BODY, headers={"X-Test": "1"}, timeout=timeout)
        finally:
            await client.aclose()

    return asyncio.run(once())


@pytest.fixture(autouse=True)
def no_proxy_around(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_the_body_arrives_as_json_whatever_characters_it_has():
    with serving(says("200 OK")) as server:
        post(server.url)
    assert json.loads(server.bodies[0].decode("utf-8", "surrogatepass")) == BODY


def test_status_headers_and_content_come_through():
    refusal = says("429 Too Many Requests", b'{"error": "later"}', "Retry-After: 7", "Content-Type: application/json")
    with serving(refusal) as server:
        answer = post(server.url)
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()) == (429, "7", {"error": "later"})


def test_a_compressed_answer_is_read():
    with serving(says("200 OK", gzip.compress(b'{"id": 1}'), "Content-Encoding: gzip")) as server:
        assert post(server.url).json() == {"id": 1}


def test_a_redirect_is_an_answer_and_not_followed():
    with serving(says("200 OK")) as elsewhere:
        with serving(says("302 Found", b"", f"Location: {elsewhere.url}")) as server:
            assert post(server.url).status_code == 302
        assert elsewhere.first_lines == []


def test_a_port_where_nobody_listens_is_a_connect_error():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError):
            post(f"http://127.0.0.1:{bound.getsockname()[1]}/v1")


def test_a_host_that_has_no_address_is_a_connect_error():
    with pytest.raises(httpx.ConnectError):
        post("http://no-such-host.invalid/v1")


def test_a_host_that_swallows_packets_is_a_connect_timeout():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        # With its queue full, the kernel drops every further attempt.
        with contextlib.ExitStack() as queued:
            for _ in range(4):
                waiting = queued.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(address)
            with pytest.raises(httpx.ConnectTimeout):
                post(f"http://127.0.0.1:{address[1]}/v1", HASTY)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_an_answer_that_stalls_is_a_read_timeout(sent):
    is_over = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(sent)
        is_over.wait()

    with serving(stall) as server, contextlib.closing(contextlib.ExitStack()) as last:
        last.callback(is_over.set)
        with pytest.raises(httpx.ReadTimeout):
            post(server.url, HASTY)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"no HTTP at all\r\n\r\n"])
def test_half_an_answer_or_none_is_a_read_error_with_a_reason(sent):
    with serving(lambda connection: connection.sendall(sent)) as server, pytest.raises(httpx.ReadError) as caught:
        post(server.url)
    assert str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://127.0.0.1/v1", "http://"])
def test_an_address_that_is_none_is_an_error_of_the_transport(url):
    with pytest.raises(httpx.TransportError):
        post(url)


def test_a_proxy_of_the_environment_is_used(monkeypatch):
    with serving(says("200 OK", b'{"through": "proxy"}')) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1/chat/completions"))
        answer = post("http://model.example.org/v1/chat/completions")
    assert answer.json() == {"through": "proxy"}
    assert proxy.first_lines == ["POST http://model.example.org/v1/chat/completions HTTP/1.1"]


def test_a_host_that_the_environment_excepts_is_asked_directly(monkeypatch):
    with serving(says("200 OK", b'{"through": "proxy"}')) as proxy, serving(says("200 OK")) as server:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1/chat/completions"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert post(server.url).json() == {}
