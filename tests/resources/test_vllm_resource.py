from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.errors import ModelNotServedError, ServerError, ServerUnreachableError, SettingError
from resources.fake_behaviour import Behaviour, Fault
from resources.fake_server import FakeServer
from resources.inference import ServedModel
from resources.vllm_resource import VLLMResource

SMALL, LARGE = ServedModel("small", max_model_len=4096), ServedModel("large", max_model_len=8192)


@pytest.fixture(autouse=True)
def no_api_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(models=[SMALL, LARGE], keep_bodies=True) as server:
        yield server


@pytest.fixture
def unused_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


def test_the_configured_model_is_found_with_its_context_length(server: FakeServer) -> None:
    model = VLLMResource(base_url=server.base_url + "/", model="large").served_model()
    assert (model.name, model.max_model_len) == ("large", 8192)


def test_a_model_that_is_not_served_lists_what_is(server: FakeServer) -> None:
    with pytest.raises(ModelNotServedError, match=r"huge is not served .*served is: small, large.*VLLM_MODEL"):
        VLLMResource(base_url=server.base_url, model="huge").served_model()


def test_several_models_and_none_configured_asks_to_choose(server: FakeServer) -> None:
    with pytest.raises(ModelNotServedError, match="serves small, large, and no model is configured"):
        VLLMResource(base_url=server.base_url).served_model()


def test_the_only_model_needs_no_configuration() -> None:
    with FakeServer(models=[SMALL]) as server:
        assert VLLMResource(base_url=server.base_url).served_model().name == "small"


def test_several_servers_offer_what_all_of_them_serve_and_their_shortest_context() -> None:
    shorter = ServedModel("large", max_model_len=2048)
    with FakeServer(models=[SMALL, LARGE]) as first, FakeServer(models=[shorter]) as second:
        resource = VLLMResource(base_url=f"{first.base_url}, {second.base_url}")
        assert [(m.name, m.max_model_len) for m in resource.served_models()] == [("large", 2048)]
        assert resource.served_model().name == "large"


def test_different_weights_under_one_name_are_refused(tmp_path: Path) -> None:
    servers = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"layers": number}))
        servers.append(FakeServer(models=[ServedModel("same", root=str(folder))]))
    with servers[0] as first, servers[1] as second:
        with pytest.raises(ServerError, match="different weights under the name same"):
            VLLMResource(base_url=f"{first.base_url},{second.base_url}").served_model()
        assert VLLMResource(base_url=first.base_url).served_model().revision != ""


def test_a_server_that_is_down_is_named_with_the_remedy(unused_url: str) -> None:
    resource = VLLMResource(base_url=unused_url)
    with pytest.raises(ServerUnreachableError, match=rf"{unused_url} .*synth serve"):
        resource.served_model()
    assert not resource.is_up()


def test_health_tells_the_servers_apart(server: FakeServer, unused_url: str) -> None:
    resource = VLLMResource(base_url=f"{server.base_url},{unused_url}")
    first, second = resource.health()
    assert (first.base_url, first.is_up, first.detail) == (server.base_url, True, "")
    assert not second.is_up
    assert unused_url in second.detail
    assert not resource.is_up()
    assert VLLMResource(base_url=server.base_url).is_up()


def test_something_that_is_no_model_server_is_named_as_such(server: FakeServer) -> None:
    wrong = server.base_url.removesuffix("/v1")
    with pytest.raises(ServerError, match=r"HTTP 404.*ends in /v1"):
        VLLMResource(base_url=wrong).served_models()


def test_the_test_request_brings_text_and_tokens(server: FakeServer) -> None:
    trial = VLLMResource(base_url=server.base_url, model="small").test_request("Say something.", max_tokens=7)
    assert trial.text
    assert trial.prompt_tokens > 0
    assert 0 < trial.completion_tokens <= 7
    body = server.bodies[-1]
    assert (body["model"], body["max_tokens"]) == ("small", 7)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("kind", ["not_json", "no_choices", "status"])
def test_a_test_request_that_goes_wrong_shows_what_the_server_said(server: FakeServer, kind: str) -> None:
    server.behaviour = Behaviour(faults=(Fault(kind),))  # type: ignore[arg-type]
    with pytest.raises(ServerError, match=r"answered .*HTTP (200|500)"):
        VLLMResource(base_url=server.base_url, model="small").test_request()


def test_metrics_are_summed_over_servers(server: FakeServer) -> None:
    with FakeServer(models=[SMALL]) as second:
        both = VLLMResource(base_url=f"{server.base_url},{second.base_url}", model="small")
        both.test_request(max_tokens=5)
        one = VLLMResource(base_url=second.base_url)
        one.test_request(max_tokens=5)
        counted = both.metrics()["vllm:generation_tokens_total"]
        assert counted == 2 * one.metrics()["vllm:generation_tokens_total"] > 0


def test_the_api_key_comes_from_the_environment_and_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(models=[SMALL], api_key="key-secret") as server:
        resource = VLLMResource(base_url=server.base_url)
        with pytest.raises(ServerError, match=r"refused the API key.*VLLM_API_KEY"):
            resource.served_model()
        monkeypatch.setenv("VLLM_API_KEY", "key-wrong")
        with pytest.raises(ServerError) as caught:
            resource.served_model()
        assert "key-wrong" not in str(caught.value)
        monkeypatch.setenv("VLLM_API_KEY", "key-secret")
        assert resource.served_model().name == "small"
        assert "key-secret" not in repr(resource) + repr(resource.generator())


def test_a_proxy_in_the_environment_is_not_asked_for_a_local_server(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, unused_url: str
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, unused_url.removesuffix("/v1"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert VLLMResource(base_url=server.base_url).is_up()


@pytest.mark.parametrize("value", ["", " , ", "localhost:8000", "ftp://host/v1", "http:///v1"])
def test_a_base_url_that_is_none_is_a_setting_error(value: str) -> None:
    with pytest.raises(SettingError, match="VLLM_BASE_URL"):
        VLLMResource(base_url=value).served_models()


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(SettingError) as caught:
        VLLMResource(base_url="http://user:hunter2@host/v1").served_models()
    assert "hunter2" not in str(caught.value)


def test_the_generator_answers_for_the_served_model(server: FakeServer) -> None:
    resource = VLLMResource(base_url=server.base_url, model="large", max_parallel_requests=3)
    assert resource.generator().model == resource.served_model()
