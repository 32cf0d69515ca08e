import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from resources import hub_config as module
from resources.hub_config import hub_config

CONFIG = {"model_type": "llama", "hidden_size": 8}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    hub_config.cache_clear()
    yield
    hub_config.cache_clear()


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that is switched off."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def cached(hub_cache: Path, name: str, content: str) -> None:
    repository = hub_cache / f"models--{name.replace('/', '--')}"
    commit = "a" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text(content)


def test_a_config_in_the_hubs_cache_needs_no_network(hub_cache: Path) -> None:
    cached(hub_cache, "acme/small", json.dumps(CONFIG))
    assert hub_config("acme/small") == CONFIG


def test_what_is_not_cached_is_not_asked_for_while_the_hub_is_switched_off(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(module, "_download", lambda name, found: asked.append(name))
    assert hub_config("acme/none") is None
    assert asked == []


def test_a_config_that_is_cut_off_is_none(hub_cache: Path) -> None:
    cached(hub_cache, "acme/broken", '{"model_type"')
    assert hub_config("acme/broken") is None


@pytest.mark.parametrize("name", ["llama", "/models/llama", "./llama", "a/b/c", "../acme", "", "acme/", "no such/name"])
def test_only_names_that_the_hub_could_have_are_looked_up(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_cached", _refuse)
    monkeypatch.setattr(module, "_downloaded", _refuse)
    assert hub_config(name) is None


def test_a_hub_that_refuses_the_connection_is_no_error(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{closed}")
    monkeypatch.setattr(module, "HUB_DEADLINE_SECONDS", 0.5)
    assert hub_config("acme/none") is None


def test_a_hub_that_does_not_answer_is_waited_for_once_and_briefly(
    hub_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    done = threading.Event()

    def hang(name: str, found: list[Path]) -> None:
        asked.append(name)
        done.wait(60)

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(module, "HUB_DEADLINE_SECONDS", 0.05)
    monkeypatch.setattr(module, "_download", hang)
    assert hub_config("acme/none") is None
    assert hub_config("acme/none") is None
    assert asked == ["acme/none"]
    done.set()


def _refuse(name: str) -> None:
    raise AssertionError(name)
