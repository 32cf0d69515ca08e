"""A model as the assets see it: asked once, remembered while the server is down, never mixed up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from resources.errors import ModelNotServedError, ServerUnreachableError
from resources.inference import ServedModel
from resources.model_endpoint import VLLMEndpoint
from resources.testing import FAKE_MODEL, FakeServer
from resources.vllm_resource import VLLMResource


def endpoint(server: FakeServer, home: Path, model: str | None = None, patience_seconds: float = 60) -> VLLMEndpoint:
    vllm = VLLMResource(base_url=server.base_url, model=model, give_up_after_seconds=patience_seconds)
    return VLLMEndpoint(vllm, home, home / "models")


def test_the_served_model_is_remembered_for_the_time_when_the_server_is_down(fake_server, tmp_path):
    first = endpoint(fake_server, tmp_path)
    assert first.known_model() == FAKE_MODEL
    assert list(tmp_path.iterdir()) == []
    first.remember()
    fake_server.die()
    assert endpoint(fake_server, tmp_path).known_model() == FAKE_MODEL


def test_where_no_server_was_ever_seen_the_configured_model_counts_or_none(fake_server, tmp_path):
    fake_server.die()
    assert endpoint(fake_server, tmp_path).known_model() is None
    assert endpoint(fake_server, tmp_path, "some-model").known_model() == ServedModel("some-model")


def test_a_model_that_is_configured_but_not_served_is_an_error_and_not_a_guess(fake_server, tmp_path):
    with pytest.raises(ModelNotServedError, match="some-model"):
        endpoint(fake_server, tmp_path, "some-model").known_model()


def test_one_process_keeps_to_the_model_that_it_planned_with(fake_server, tmp_path):
    planned = endpoint(fake_server, tmp_path)
    planned.known_model()
    fake_server.models = (replace(FAKE_MODEL, name="another-model"),)
    with pytest.raises(ModelNotServedError, match="another-model"):
        planned.generator()
    later = endpoint(fake_server, tmp_path)
    later.known_model()
    assert later.generator().model.name == "another-model"


def test_a_generator_needs_a_live_server_however_well_the_model_is_known(fake_server, tmp_path):
    known = endpoint(fake_server, tmp_path, patience_seconds=0.5)
    known.known_model()
    fake_server.die()
    with pytest.raises(ServerUnreachableError):
        known.generator()


def test_a_server_that_was_alive_in_this_process_is_waited_for(fake_server, tmp_path):
    known = endpoint(fake_server, tmp_path)
    known.known_model()
    fake_server.die(seconds=1)
    assert known.generator().model == FAKE_MODEL


def test_the_tokenizer_counts_as_the_server_does(fake_server, tmp_path):
    assert endpoint(fake_server, tmp_path).tokenizer().count_tokens(["One two, three.", ""]) == [5, 0]


@pytest.mark.parametrize(
    "content", ["", '{"http://127.0.0.1', "[]", '{"k": "v"}', '{"k": {"revision": "r"}}', "\udcff"]
)
def test_a_memory_that_is_cut_off_or_of_another_shape_counts_as_none_and_is_written_anew(
    fake_server, tmp_path, content
):
    memory = tmp_path / "served_models.json"
    endpoint(fake_server, tmp_path).remember()
    key = next(iter(json.loads(memory.read_text())))
    memory.write_text(content.replace('"k"', json.dumps(key)), errors="surrogateescape")
    endpoint(fake_server, tmp_path).remember()
    fake_server.die()
    assert endpoint(fake_server, tmp_path).known_model() == FAKE_MODEL


def test_a_memory_that_a_later_release_added_to_is_still_read(fake_server, tmp_path):
    memory = tmp_path / "served_models.json"
    endpoint(fake_server, tmp_path).remember()
    stored = json.loads(memory.read_text())
    memory.write_text(json.dumps({key: {**model, "colour": "red"} for key, model in stored.items()}))
    fake_server.die()
    assert endpoint(fake_server, tmp_path).known_model() == FAKE_MODEL
