from __future__ import annotations

import pytest

from resources.errors import ServerError
from resources.fake_behaviour import Behaviour, Fault
from resources.fake_server import FakeServer
from resources.throughput import baseline_prompts, measure_throughput


def test_a_sample_counts_every_request_and_never_exceeds_its_concurrency() -> None:
    with FakeServer(behaviour=Behaviour(latency_seconds=0.02), keep_bodies=True) as server:
        sample = measure_throughput(server.base_url, "fake-model", baseline_prompts(9), 20, concurrency=3)
    assert (sample.concurrency, sample.requests, server.answered_count) == (3, 9, 9)
    assert server.max_in_flight == 3
    assert sample.prompt_tokens > 0
    assert 0 < sample.completion_tokens <= 9 * 20
    assert sample.tokens_per_second == pytest.approx(sample.completion_tokens / sample.wall_seconds)
    assert {body["messages"][0]["content"] for body in server.bodies} == set(baseline_prompts(9))


def test_a_failing_request_fails_the_measurement_and_is_not_repeated() -> None:
    with FakeServer(behaviour=Behaviour(faults=(Fault("status", status=500, first=1),))) as server:
        with pytest.raises(ServerError, match="could not be measured"):
            measure_throughput(server.base_url, "fake-model", baseline_prompts(1), 20, concurrency=1)
        assert server.request_count == 1


def test_the_api_key_is_sent_and_not_shown() -> None:
    with FakeServer(api_key="key-secret") as server:
        assert measure_throughput(server.base_url, "fake-model", ["Hi."], 5, 1, "key-secret").requests == 1
        with pytest.raises(ServerError) as caught:
            measure_throughput(server.base_url, "fake-model", ["Hi."], 5, 1, "key-wrong")
    assert "key-wrong" not in str(caught.value)


def test_prompts_differ_from_their_first_words_on() -> None:
    beginnings = {prompt[:14] for prompt in baseline_prompts(40)}
    assert len(beginnings) == 40


def test_no_prompts_or_no_concurrency_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measure_throughput("http://127.0.0.1:1/v1", "m", [], 5, 1)
    with pytest.raises(ValueError, match="at least one"):
        measure_throughput("http://127.0.0.1:1/v1", "m", ["Hi."], 5, 0)
