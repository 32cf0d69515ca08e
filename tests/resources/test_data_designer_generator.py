import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest

import resources.lane_engine as module
from resources.data_designer_generator import DataDesignerGenerator
from resources.engine_process import ProcessEngine
from resources.errors import ServerError
from resources.inference import ChatMessage, CompletionRequest, SamplingParams, ServedModel
from resources.lane_engine import LocalEngine
from resources.model_call import RetryPolicy
from resources.scratch import scratch_folder
from resources.testing import FAKE_MODEL, REFUSAL, Behaviour, FakeServer, FakeTokenizer, Fault

SOURCE = "The bridge was finished in 1883 and carries trams, carts and people across the river. " * 3
QUICK = RetryPolicy(
    request_timeout_seconds=20.0, give_up_after_seconds=1.0, first_wait_seconds=0.02, longest_wait_seconds=0.1
)


def request(key, text=SOURCE, schema=None, max_tokens=200):
    messages = (ChatMessage("system", "Rewrite it plainly."), ChatMessage("user", f"{key}: {text}"))
    return CompletionRequest(key, messages, SamplingParams(0.5, 0.9, max_tokens), schema)


def requests(count, **changes):
    return [request(f"key-{place}", **changes) for place in range(count)]


def generator(*servers, parallel=4, retry=QUICK, **changes):
    return DataDesignerGenerator(
        [server.base_url for server in servers], FAKE_MODEL, max_parallel_requests=parallel, retry=retry, **changes
    )


def ask(server, wanted, **changes):
    return {completion.request_key: completion for completion in generator(server, **changes).generate(wanted)}


def wait_until(holds, seconds=10.0):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name in ("data-designer", "engine-results")]


@pytest.fixture
def server():
    with FakeServer(keep_bodies=True) as running:
        yield running


in_either_process = pytest.mark.parametrize("open_engine", [ProcessEngine, LocalEngine])


@in_either_process
def test_every_request_gets_exactly_one_completion(server, open_engine):
    completions = list(generator(server, open_engine=open_engine).generate(iter(requests(50))))

    assert Counter(completion.request_key for completion in completions) == Counter(
        request.request_key for request in requests(50)
    )
    assert all(completion.error_kind is None for completion in completions)
    assert server.request_count == 50


def test_a_completion_carries_text_finish_reason_and_usage(server):
    first, second = generator(server, parallel=1).generate(requests(2))

    assert first.text
    assert first.finish_reason == "stop"
    assert first.completion_tokens == FakeTokenizer().count_tokens([first.text])[0]
    assert first.prompt_tokens > FakeTokenizer().count_tokens([SOURCE])[0]
    assert (first.cached_prompt_tokens, second.cached_prompt_tokens) == (
        0,
        FakeTokenizer().count_tokens(["Rewrite it plainly."])[0],
    )
    assert first.wall_seconds > 0


def test_the_server_gets_the_prompt_the_sampling_and_no_thinking(server):
    list(generator(server).generate(requests(1)))

    (body,) = server.bodies
    assert body["messages"] == [
        {"role": "system", "content": "Rewrite it plainly."},
        {"role": "user", "content": f"key-0: {SOURCE}"},
    ]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.5, 0.9, 200)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert "response_format" not in body


def test_a_schema_goes_to_the_server_as_response_format(server):
    schema = {
        "type": "object",
        "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}},
        "required": ["score"],
    }
    (completion,) = generator(server).generate([request("a", schema=json.dumps(schema))])

    jsonschema.validate(json.loads(completion.text), schema)
    assert server.bodies[0]["response_format"]["json_schema"]["schema"] == schema


def test_as_many_requests_fly_as_are_allowed_and_no_more(server):
    server.behaviour = Behaviour(latency_seconds=0.1)

    list(generator(server, parallel=8).generate(requests(40)))

    assert server.max_in_flight == 8


def test_requests_are_pulled_only_as_fast_as_they_are_answered(server):
    pulled = 0

    def stream():
        nonlocal pulled
        for one in requests(100):
            pulled += 1
            yield one

    for yielded, _ in enumerate(generator(server, parallel=2).generate(stream()), start=1):
        assert pulled - yielded < 6 * 2


def test_no_request_starts_nothing(server):
    assert list(generator(server).generate([])) == []
    assert not engine_threads()


@pytest.mark.parametrize(
    ("kind", "text", "finish_reason"),
    [("empty", "", "stop"), ("reasoning", "", "stop"), ("refuse", REFUSAL, "stop"), ("cut", None, "length")],
)
def test_an_odd_answer_is_an_answer(server, kind, text, finish_reason):
    server.behaviour = Behaviour(faults=(Fault(kind),))

    (completion,) = generator(server).generate(requests(1))

    assert completion.error_kind is None
    assert completion.finish_reason == finish_reason
    assert text is None or completion.text == text


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=429, retry_after_seconds=0.1, first=3),
        Fault("status", status=500, first=2),
        Fault("status", status=503, first=3),
        Fault("not_json", first=2),
        Fault("no_choices", first=2),
        Fault("drop", first=3),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
def test_what_can_pass_is_tried_again(server, fault):
    server.behaviour = Behaviour(faults=(fault,))

    completions = ask(server, requests(1), retry=RetryPolicy(first_wait_seconds=0.01, longest_wait_seconds=0.05))

    assert completions["key-0"].error_kind is None
    assert server.request_count == (fault.first or 0) + 1


@pytest.mark.parametrize(
    ("fault", "error_kind", "attempts"),
    [
        (Fault("status", status=500, containing="poison"), "server_error", 3),
        (Fault("not_json", containing="poison"), "malformed", 3),
        (Fault("no_choices", containing="poison"), "malformed", 3),
        (Fault("context_overflow", containing="poison"), "context_overflow", 1),
        (Fault("status", status=422, containing="poison"), "bad_request", 1),
        (Fault("hang", containing="poison"), "timeout", 2),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_a_request_that_fails_for_good_fails_alone(server, fault, error_kind, attempts):
    server.behaviour = Behaviour(faults=(fault,))
    retry = RetryPolicy(request_timeout_seconds=0.5, first_wait_seconds=0.01, longest_wait_seconds=0.05)

    completions = ask(server, [*requests(6), request("poison")], parallel=2, retry=retry)

    assert completions["poison"].error_kind == error_kind
    assert completions["poison"].error
    assert sum(completion.error_kind is None for completion in completions.values()) == 6
    assert server.request_count == 6 + attempts


def test_a_prompt_beyond_the_context_is_refused_once(server):
    completions = ask(server, [request("long", text="word " * 9000), request("short")])

    assert completions["long"].error_kind == "context_overflow"
    assert "maximum context length is 8192" in completions["long"].error
    assert completions["short"].error_kind is None
    assert server.request_count == 2


def test_a_model_that_is_not_served_is_named_with_its_setting(server):
    asker = DataDesignerGenerator([server.base_url], ServedModel("another-model"), retry=QUICK)

    (completion,) = asker.generate(requests(1))

    assert completion.error_kind == "not_served"
    assert "another-model" in completion.error
    assert "VLLM_MODEL" in completion.error


def test_a_server_that_comes_back_in_time_answers_everything(server):
    server.behaviour = Behaviour(latency_seconds=0.05)
    patient = RetryPolicy(give_up_after_seconds=60.0, first_wait_seconds=0.05, longest_wait_seconds=0.2)
    completions = []
    for completion in generator(server, retry=patient).generate(requests(40)):
        completions.append(completion)
        if len(completions) == 8:
            server.die(0.5)

    assert [completion for completion in completions if completion.error_kind] == []
    assert len(completions) == 40


def test_a_dead_server_fails_every_request_as_unreachable(server):
    server.die()

    completions = ask(server, requests(300), parallel=2)

    assert {completion.error_kind for completion in completions.values()} == {"unreachable"}
    assert len(completions) == 300
    assert server.base_url in completions["key-299"].error


def test_a_server_that_is_given_up_is_not_asked_again_for_each_request(server):
    server.behaviour = Behaviour(faults=(Fault("drop"),))

    completions = ask(server, requests(500), parallel=2)

    assert {completion.error_kind for completion in completions.values()} == {"unreachable"}
    assert len(completions) == 500
    assert server.request_count < 250


def test_the_engine_does_not_repeat_a_request_by_itself(server):
    server.behaviour = Behaviour(faults=(Fault("status", status=503),))

    completions = ask(server, requests(1), retry=RetryPolicy(give_up_after_seconds=0.0))

    assert completions["key-0"].error_kind == "unreachable"
    assert server.request_count == 1


def test_endless_rate_limits_come_to_an_end(server):
    server.behaviour = Behaviour(faults=(Fault("status", status=429, retry_after_seconds=0.2),))

    completions = ask(server, requests(20), parallel=4)

    assert {completion.error_kind for completion in completions.values()} == {"rate_limited"}
    assert len(completions) == 20


def test_a_server_that_asks_for_an_hour_is_given_up_at_once(server):
    server.behaviour = Behaviour(faults=(Fault("status", status=429, retry_after_seconds=3600),))

    completions = ask(server, requests(20), parallel=4)

    assert {completion.error_kind for completion in completions.values()} == {"rate_limited"}


def test_giving_a_server_up_ends_every_wait_for_it(server):
    limited = Fault("status", status=429, retry_after_seconds=3600, containing="limited")
    server.behaviour = Behaviour(faults=(Fault("hang", containing="stuck"), limited))

    def stream():
        yield request("stuck")
        assert wait_until(lambda: server.in_flight == 1)
        yield request("limited")

    completions = ask(server, stream(), parallel=2, retry=RetryPolicy())

    assert {completion.error_kind for completion in completions.values()} == {"rate_limited"}
    assert wait_until(lambda: server.in_flight == 0)


def test_a_server_that_never_answers_is_given_up(server):
    server.behaviour = Behaviour(faults=(Fault("hang"),))
    retry = RetryPolicy(request_timeout_seconds=0.3, give_up_after_seconds=0.2, first_wait_seconds=0.01)

    completions = ask(server, requests(200), parallel=2, retry=retry)

    assert {completion.error_kind for completion in completions.values()} == {"timeout"}
    assert server.request_count <= 8


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_every_request_would_share_gives_the_server_up_at_once(server, status):
    server.behaviour = Behaviour(faults=(Fault("status", status=status),))

    completions = ask(server, requests(50), parallel=2, retry=RetryPolicy())

    assert len(completions) == 50
    assert {completion.error_kind for completion in completions.values()} <= {"unauthorized", "not_served"}
    assert server.request_count <= 2


def test_two_servers_share_the_work(server):
    server.behaviour = Behaviour(latency_seconds=0.02)
    with FakeServer(behaviour=Behaviour(latency_seconds=0.02)) as other:
        completions = list(generator(server, other, parallel=4).generate(requests(60)))

        assert len({completion.request_key for completion in completions}) == 60
        assert server.request_count + other.request_count == 60
        assert min(server.request_count, other.request_count) > 10
        assert max(server.max_in_flight, other.max_in_flight) <= 4


def test_a_working_server_takes_over_from_a_dead_one(server):
    with FakeServer() as dead:
        dead.die()
        completions = list(generator(server, dead, parallel=2).generate(requests(30)))

    assert len({completion.request_key for completion in completions}) == 30
    assert [completion for completion in completions if completion.error_kind] == []


@in_either_process
@pytest.mark.parametrize("end", ["close", "interrupt"])
def test_ending_early_cuts_off_what_flies_and_leaves_nothing(server, end, open_engine):
    own_folder = scratch_folder("probe").parent
    server.behaviour = Behaviour(faults=(Fault("hang", containing="stuck"),))
    asker = generator(server, parallel=4, open_engine=open_engine)
    completions = asker.generate([request("quick"), *requests(20, text="stuck")])
    next(completions)
    assert wait_until(lambda: server.in_flight >= 3)

    if end == "close":
        completions.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            completions.throw(KeyboardInterrupt)

    assert wait_until(lambda: server.in_flight == 0)
    assert not engine_threads()
    assert server.request_count <= 6
    assert not list(own_folder.glob("lanes-*"))


@in_either_process
def test_stopping_from_another_thread_yields_what_is_answered_and_cuts_off_the_rest(server, open_engine):
    server.behaviour = Behaviour(faults=(Fault("hang", containing="stuck"),))
    asker = generator(server, parallel=4, retry=RetryPolicy(), open_engine=open_engine)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: list(asker.generate([request("quick"), *requests(20, text="stuck")])))
        # A lane asks for its second request once its first is answered: by then all four hang.
        assert wait_until(lambda: server.in_flight == 4, 60.0)
        asker.stop()
        completions = asked.result(60.0)

    assert [completion.request_key for completion in completions] == ["quick"]
    assert wait_until(lambda: server.in_flight == 0)
    assert server.request_count == 5
    assert not engine_threads()
    server.behaviour = Behaviour()
    assert len(list(asker.generate(requests(3)))) == 3


def test_stopping_where_nothing_is_asked_is_no_error(server):
    asker = generator(server)
    asker.stop()
    assert len(list(asker.generate(requests(1)))) == 1


def test_ending_early_ends_the_wait_for_a_dead_server(server):
    server.die()
    patient = RetryPolicy(give_up_after_seconds=600.0, first_wait_seconds=30.0, longest_wait_seconds=60.0)

    def stream():
        yield from requests(2)
        time.sleep(0.5)
        raise LookupError("the source broke")

    with pytest.raises(LookupError, match="the source broke"):
        list(generator(server, retry=patient).generate(stream()))

    assert not engine_threads()


def test_two_generators_work_side_by_side(server):
    with ThreadPoolExecutor(2) as pool:
        asked = [requests(20), [request(f"other-{place}") for place in range(20)]]
        first, second = pool.map(lambda wanted: ask(server, wanted), asked)

    assert set(first) == {one.request_key for one in asked[0]}
    assert set(second) == {one.request_key for one in asked[1]}


def test_the_api_key_reaches_the_server_and_nothing_else(capfd):
    with FakeServer(api_key="sesame-1234") as server:
        asker = generator(server, api_key="sesame-1234")
        (with_key,) = asker.generate(requests(1))
        (without,) = generator(server).generate(requests(1))

    assert with_key.error_kind is None
    assert without.error_kind == "unauthorized"
    assert "VLLM_API_KEY" in without.error
    assert "sesame" not in repr(asker) + "".join(capfd.readouterr())


def test_an_engine_that_cannot_start_says_so(server, monkeypatch):
    def broken():
        raise ImportError("no engine here")

    monkeypatch.setattr(module, "import_engine", broken)

    with pytest.raises(ServerError, match="no engine here"):
        list(generator(server, open_engine=LocalEngine).generate(requests(1)))


def test_the_engine_prints_nothing(server, capfd):
    list(generator(server).generate(requests(3)))

    assert capfd.readouterr() == ("", "")
