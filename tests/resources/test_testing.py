import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Annotated, Literal

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter

from resources.fake_answers import answer, cut
from resources.inference import ChatMessage, Completion, CompletionRequest, SamplingParams, ServedModel
from resources.testing import REFUSAL, Behaviour, FakeEndpoint, FakeGenerator, FakeServer, FakeTokenizer, Fault

SOURCE = "The lighthouse was built in 1811 on a reef that sinks below each tide. Its lamp is seen for 35 miles. " * 4


def body(text=SOURCE, system="Rewrite it.", **changes):
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return {"model": "fake-model", "messages": messages, "max_tokens": 200, **changes}


def chat(server, *args, timeout=10.0, **changes):
    return httpx.post(f"{server.base_url}/chat/completions", json=body(*args, **changes), timeout=timeout)


def text_of(response):
    return response.json()["choices"][0]["message"]["content"]


@pytest.fixture
def server():
    with FakeServer(keep_bodies=True) as running:
        yield running


def test_the_models_are_listed_as_vllm_does():
    served = [ServedModel("one", root="/weights/one", max_model_len=512), ServedModel("two")]
    with FakeServer(models=served) as server:
        cards = httpx.get(f"{server.base_url}/models").json()["data"]

    assert [(card["id"], card["root"], card["max_model_len"]) for card in cards] == [
        ("one", "/weights/one", 512),
        ("two", "two", None),
    ]


def test_the_same_request_gets_the_same_answer_and_another_prompt_another(server):
    first, again, other_system, other_text = (
        text_of(chat(server, *args)) for args in [(), (), (SOURCE, "Distill it."), ("Cats sleep. " + SOURCE,)]
    )

    assert first == again
    assert len({first, other_system, other_text}) == 3


def test_an_answer_is_made_of_several_sentences_of_the_source(server):
    reply = chat(server).json()
    text = text_of(chat(server))

    assert reply["choices"][0]["finish_reason"] == "stop"
    assert len(re.findall(r"[.!?](\s|$)", text)) >= 3
    assert "lighthouse" in text
    assert reply["usage"]["completion_tokens"] >= 50


def test_usage_counts_as_the_tokenizer_does(server):
    reply = chat(server).json()
    counts = FakeTokenizer().count_tokens(["Rewrite it.", SOURCE, reply["choices"][0]["message"]["content"]])

    assert reply["usage"]["completion_tokens"] == counts[2]
    assert counts[0] + counts[1] < reply["usage"]["prompt_tokens"] <= counts[0] + counts[1] + 8


def test_a_system_prompt_that_was_seen_before_is_cached(server):
    cached = [chat(server).json()["usage"]["prompt_tokens_details"]["cached_tokens"] for _ in range(2)]

    assert cached == [0, FakeTokenizer().count_tokens(["Rewrite it."])[0]]


def test_max_tokens_is_honoured(server):
    reply = chat(server, max_tokens=7).json()

    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 7
    assert FakeTokenizer().count_tokens([reply["choices"][0]["message"]["content"]]) == [7]


@given(st.text(), st.integers(0, 20))
def test_cutting_keeps_the_beginning_and_counts_right(text, max_tokens):
    reply = cut(text, max_tokens)

    assert text.startswith(reply.text)
    assert reply.token_count == FakeTokenizer().count_tokens([reply.text])[0] <= max_tokens
    assert reply.finish_reason == ("stop" if reply.text == text else "length")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Choice(BaseModel):
    kind: Literal["multiple_choice"]
    question: str = Field(min_length=10, max_length=80)
    choices: list[Annotated[str, Field(max_length=30)]] = Field(min_length=4, max_length=4)
    answer_index: int = Field(ge=0, le=3)


class Open(BaseModel):
    kind: Literal["open"]
    question: str
    certainty: float = Field(ge=0, le=1)
    is_hard: bool


class Everything(BaseModel):
    pairs: list[Choice | Open] = Field(min_length=3, max_length=8)
    tagged: list[Annotated[Choice | Open, Field(discriminator="kind")]] = Field(min_length=2)
    colour: Colour
    note: str | None
    score: Annotated[int, Field(gt=2, lt=4)]
    few: list[int] = Field(max_length=1)
    place: tuple[int, str]


def test_structured_answers_are_valid_and_show_every_choice(server):
    schema = Everything.model_json_schema()
    response_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    parsed = Everything.model_validate_json(text_of(chat(server, max_tokens=2000, response_format=response_format)))

    assert {type(pair) for pair in parsed.pairs} == {Choice, Open}
    assert parsed.note is not None
    assert parsed.pairs[0].question.endswith("?")


_LEAVES = st.one_of(
    st.builds(lambda low, size: Annotated[int, Field(ge=low, le=low + size)], st.integers(-9, 9), st.integers(0, 9)),
    st.builds(
        lambda low, size: Annotated[str, Field(min_length=low, max_length=low + size)],
        st.integers(0, 40),
        st.integers(0, 300),
    ),
    st.sampled_from([bool, Colour, str | None, Literal["a", "b"], float, Choice]),
)
_TYPES = st.recursive(
    _LEAVES,
    lambda inner: st.builds(
        lambda item, low, size: Annotated[list[item], Field(min_length=low, max_length=low + size)],
        inner,
        st.integers(0, 5),
        st.integers(0, 5),
    ),
    max_leaves=4,
)


@given(_TYPES, st.text(max_size=60))
def test_any_schema_that_pydantic_writes_is_honoured(kind, prompt):
    schema = TypeAdapter(kind).json_schema()
    reply = answer([{"role": "user", "content": prompt}], schema, 100_000)

    jsonschema.validate(json.loads(reply.text), schema)


def test_a_schema_that_cannot_be_honoured_is_refused(server):
    schema = {"type": "string", "multipleOf": 3}
    response_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    response = chat(server, response_format=response_format)

    assert response.status_code == 400
    assert "multipleOf" in response.json()["error"]["message"]


def test_what_does_not_fit_into_the_context_is_refused_as_vllm_does(server):
    response = chat(server, "word " * 8100)

    assert response.status_code == 400
    assert "maximum context length is 8192 tokens" in response.json()["error"]["message"]


def test_a_model_that_is_not_served_is_not_found(server):
    assert chat(server, model="other").status_code == 404


def test_a_key_is_asked_for_where_one_is_set():
    with FakeServer(api_key="sesame") as server:
        codes = [
            httpx.get(f"{server.base_url}/models", headers=headers).status_code
            for headers in ({}, {"Authorization": "Bearer sesame"})
        ]

    assert codes == [401, 200]


def test_health_tokenize_and_metrics_speak_vllms_language(server):
    root = server.base_url.removesuffix("/v1")
    usage = chat(server).json()["usage"]
    cached = chat(server).json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    counted = httpx.post(f"{root}/tokenize", json={"model": "fake-model", "prompt": "a, b"}).json()
    metrics = dict(re.findall(r"^(vllm:\w+)\{[^}]*\} ([\d.]+)$", httpx.get(f"{root}/metrics").text, re.MULTILINE))

    assert httpx.get(f"{root}/health").status_code == 200
    assert (counted["count"], counted["max_model_len"], len(counted["tokens"])) == (4, 8192, 4)
    assert float(metrics["vllm:prompt_tokens_total"]) == 2 * usage["prompt_tokens"]
    assert float(metrics["vllm:generation_tokens_total"]) == 2 * usage["completion_tokens"]
    assert float(metrics["vllm:prefix_cache_hits_total"]) == cached > 0
    assert float(metrics["vllm:num_requests_running"]) == 0


def test_requests_are_counted_while_they_fly(server):
    server.behaviour = Behaviour(latency_seconds=0.3)
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda place: chat(server, system=f"System {place % 2}"), range(5)))

    assert (server.request_count, server.answered_count, server.in_flight, server.max_in_flight) == (5, 5, 0, 5)
    assert server.requests_by_system_prompt == {"System 0": 3, "System 1": 2}
    assert len(server.bodies) == 5


def statuses(server, count, *args):
    return [chat(server, *args).status_code for _ in range(count)]


def test_faults_strike_the_first_or_each_kth_or_the_chosen_requests(server):
    server.behaviour = Behaviour(faults=(Fault("status", status=500, first=2),))
    assert statuses(server, 3) == [500, 500, 200]

    server.behaviour = Behaviour(faults=(Fault("status", status=503, every=2),))
    assert statuses(server, 4) == [200, 503, 200, 503]

    server.behaviour = Behaviour(faults=(Fault("status", status=500, containing="poison"),))
    assert statuses(server, 1) + statuses(server, 1, "poison") == [200, 500]

    server.behaviour = Behaviour(faults=(Fault("status", status=500, when=lambda one: one["max_tokens"] == 1),))
    assert [chat(server, max_tokens=size).status_code for size in (1, 2)] == [500, 200]


def test_the_first_fault_that_strikes_decides(server):
    faults = (Fault("status", status=429, first=1, retry_after_seconds=1.5), Fault("status", status=500))
    server.behaviour = Behaviour(faults=faults)

    limited, broken = chat(server), chat(server)

    assert (limited.status_code, limited.headers["Retry-After"], broken.status_code) == (429, "1.5", 500)


def test_answers_are_spoiled_on_demand(server):
    whole = text_of(chat(server))
    replies = {}
    for kind in ("cut", "refuse", "empty", "reasoning"):
        server.behaviour = Behaviour(faults=(Fault(kind),))
        replies[kind] = chat(server).json()["choices"][0]

    assert whole.startswith(replies["cut"]["message"]["content"])
    assert replies["cut"]["finish_reason"] == "length"
    assert replies["refuse"]["message"]["content"] == REFUSAL
    assert replies["empty"]["message"]["content"] == ""
    assert replies["reasoning"]["message"] == {"role": "assistant", "content": None, "reasoning_content": whole}


def test_bodies_are_spoiled_on_demand(server):
    server.behaviour = Behaviour(faults=(Fault("not_json"),))
    with pytest.raises(json.JSONDecodeError):
        chat(server).json()
    server.behaviour = Behaviour(faults=(Fault("no_choices"),))
    assert "choices" not in chat(server).json()
    server.behaviour = Behaviour(faults=(Fault("drop"),))
    with pytest.raises(httpx.TransportError):
        chat(server)
    server.behaviour = Behaviour(faults=(Fault("context_overflow"),))
    assert "maximum context length" in chat(server).text


def test_a_hanging_request_ends_when_its_client_leaves(server):
    server.behaviour = Behaviour(faults=(Fault("hang"),))

    with pytest.raises(httpx.ReadTimeout):
        chat(server, timeout=0.2)

    end = time.monotonic() + 10
    while server.in_flight and time.monotonic() < end:
        time.sleep(0.01)
    assert server.in_flight == 0


def test_a_server_can_die_and_return_on_the_same_port(server):
    server.die()
    with pytest.raises(httpx.ConnectError):
        chat(server)
    server.start()
    assert chat(server).status_code == 200

    server.die(0.2)
    with pytest.raises(httpx.ConnectError):
        chat(server)
    assert httpx.Client(transport=httpx.HTTPTransport(retries=8)).get(f"{server.base_url}/models").status_code == 200


def test_latency_follows_from_the_request_and_scatters_about_its_median():
    behaviour = Behaviour(latency_seconds=2.0, latency_sigma=0.35)
    latencies = sorted(behaviour.latency_of(body(str(place))) for place in range(301))

    assert behaviour.latency_of(body("7")) == behaviour.latency_of(body("7"))
    assert latencies[150] == pytest.approx(2.0, rel=0.15)
    assert latencies[0] < 1.4 < 2.9 < latencies[-1]
    assert Behaviour(latency_seconds=0.5).latency_of(body()) == 0.5


def test_as_a_process_it_serves_until_it_is_killed():
    command = [sys.executable, "-m", "resources.testing", "--fault", '{"kind": "status", "status": 429, "first": 1}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        codes = [httpx.post(f"{url}/chat/completions", json=body()).status_code for _ in range(2)]
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(10) == -signal.SIGKILL

    assert codes == [429, 200]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/models")


def request(key="a", schema=None):
    messages = (ChatMessage("system", "Rewrite it."), ChatMessage("user", SOURCE))
    return CompletionRequest(key, messages, SamplingParams(0.5, 0.9, 200), schema)


def test_the_fake_generator_answers_as_the_server_does(server):
    (completion,) = FakeGenerator().generate([request()])
    reply = chat(server).json()

    assert completion.text == reply["choices"][0]["message"]["content"]
    assert completion.prompt_tokens == reply["usage"]["prompt_tokens"]
    assert completion.completion_tokens == reply["usage"]["completion_tokens"]


def test_the_fake_generator_answers_with_a_function_and_remembers_what_was_asked():
    by_text = FakeGenerator(lambda asked: f"Answer to {asked.request_key}.")
    failing = FakeGenerator(lambda asked: Completion(asked.request_key, error_kind="timeout"))

    texts = [
        (one.request_key, one.text, one.completion_tokens) for one in by_text.generate([request("a"), request("b")])
    ]

    assert texts == [("a", "Answer to a.", 4), ("b", "Answer to b.", 4)]
    assert by_text.request_count == 2
    assert [one.error_kind for one in failing.generate([request()])] == ["timeout"]


def test_the_fake_generator_honours_a_schema():
    schema = json.dumps(Choice.model_json_schema())

    (completion,) = FakeGenerator().generate([request(schema=schema)])

    assert Choice.model_validate_json(completion.text)


def test_the_fake_endpoint_is_one_model_with_its_tokenizer():
    endpoint = FakeEndpoint()
    list(endpoint.generator().generate([request()]))

    assert endpoint.known_model() == endpoint.generator().model
    assert endpoint.generator().request_count == 1
    assert endpoint.tokenizer().count_tokens(["a b."]) == [3]
