import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest

from resources.errors import SettingError, SynthError
from synth_assets.core import reference_model
from synth_assets.core.reference_model import folder_version, resolve_reference_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def _save_model(folder: Path, weights: bytes = b"weights" * 50_000, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **config}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, a hub that nobody listens for, and no remembered answers."""
    reference_model._ask_hub.cache_clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{closed}")
    return tmp_path / "hub"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub that knows GPT-2 only; the paths that it was asked for."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            is_known = self.path.endswith("openai-community/gpt2")
            body = json.dumps({"id": "openai-community/gpt2", "sha": COMMIT} if is_known else {}).encode()
            self.send_response(200 if is_known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield asked
    server.shutdown()
    server.server_close()


def _cache_model(hub_cache: Path, name: str) -> Path:
    repository = hub_cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return _save_model(repository / "snapshots" / COMMIT)


def test_gpt2_is_the_default_where_the_hub_has_it_and_is_asked_once(hub: list[str], tmp_path: Path) -> None:
    for _ in range(3):
        found = resolve_reference_model(None, tmp_path)
        assert (found.name, found.path) == ("openai-community/gpt2", "openai-community/gpt2")
        assert found.identity == f"openai-community/gpt2@{COMMIT}"
        assert found.warning is None
    assert len([path for path in hub if path.startswith("/api/models/")]) == 1


def test_a_cached_model_is_used_without_asking_the_hub(hub: list[str], hub_cache: Path, tmp_path: Path) -> None:
    snapshot = _cache_model(hub_cache, "openai-community/gpt2")
    found = resolve_reference_model(None, tmp_path)
    assert (found.path, found.version) == (str(snapshot), COMMIT)
    assert hub == []


def test_fetching_a_model_does_not_change_its_identity(hub: list[str], hub_cache: Path, tmp_path: Path) -> None:
    before = resolve_reference_model(None, tmp_path)
    _cache_model(hub_cache, "openai-community/gpt2")
    after = resolve_reference_model(None, tmp_path)
    assert before.path != after.path
    assert before.identity == after.identity


def test_a_half_fetched_model_is_not_taken_for_a_cached_one(hub_cache: Path, tmp_path: Path) -> None:
    (_cache_model(hub_cache, "openai-community/gpt2") / "model.safetensors").unlink()
    _save_model(tmp_path / "SmolLM2-135M-Instruct")
    assert resolve_reference_model(None, tmp_path).name == "SmolLM2-135M-Instruct"


def test_without_a_hub_the_embedded_model_is_used_with_a_warning(tmp_path: Path) -> None:
    folder = _save_model(tmp_path / "SmolLM2-135M-Instruct")
    found = resolve_reference_model(None, tmp_path)
    assert (found.name, found.path) == ("SmolLM2-135M-Instruct", str(folder))
    assert found.warning is not None
    assert "PERPLEXITY_MODEL" in found.warning
    assert "openai-community/gpt2" in found.warning


def test_without_any_model_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SynthError, match="PERPLEXITY_MODEL"):
        resolve_reference_model(None, tmp_path)


def test_a_hub_that_never_answers_counts_as_unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save_model(tmp_path / "SmolLM2-135M-Instruct")
    monkeypatch.setattr(reference_model, "HUB_DEADLINE_SECONDS", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        assert resolve_reference_model(None, tmp_path).name == "SmolLM2-135M-Instruct"


def test_a_switched_off_hub_is_not_asked(hub: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    _save_model(tmp_path / "SmolLM2-135M-Instruct")
    found = resolve_reference_model(None, tmp_path)
    assert found.name == "SmolLM2-135M-Instruct"
    assert "HF_HUB_OFFLINE" in str(found.warning)
    assert hub == []


def test_a_folder_can_be_named_by_path_or_within_the_models_folder(tmp_path: Path) -> None:
    folder = _save_model(tmp_path / "models" / "mine")
    for setting in (str(folder), "mine"):
        found = resolve_reference_model(setting, tmp_path / "models")
        assert (found.name, found.path, found.warning) == ("mine", str(folder), None)
        assert found.version == folder_version(folder)


def test_a_cached_hub_name_can_be_set(hub_cache: Path, tmp_path: Path) -> None:
    snapshot = _cache_model(hub_cache, "acme/small")
    assert resolve_reference_model("acme/small", tmp_path).path == str(snapshot)


@pytest.mark.parametrize("setting", ["/nowhere/at-all", "./nowhere", "~/nowhere", "a/b/c", "no such name", "acme/none"])
def test_a_setting_that_cannot_be_used_is_refused_with_its_value(setting: str, hub: list[str], tmp_path: Path) -> None:
    with pytest.raises(SettingError) as error:
        resolve_reference_model(setting, tmp_path)
    assert "PERPLEXITY_MODEL" in str(error.value)
    assert repr(setting) in str(error.value)


def test_an_unreachable_hub_fails_an_explicit_setting(tmp_path: Path) -> None:
    _save_model(tmp_path / "SmolLM2-135M-Instruct")
    with pytest.raises(SettingError, match="cannot be reached"):
        resolve_reference_model("acme/small", tmp_path)


@pytest.mark.parametrize("missing", ["config.json", "tokenizer.json", "model.safetensors"])
def test_an_incomplete_folder_is_refused(missing: str, tmp_path: Path) -> None:
    (_save_model(tmp_path / "half") / missing).unlink()
    with pytest.raises(SettingError, match="half"):
        resolve_reference_model(str(tmp_path / "half"), tmp_path)


def test_a_missing_shard_makes_a_folder_incomplete(tmp_path: Path) -> None:
    folder = _save_model(tmp_path / "sharded")
    (folder / "model.safetensors").unlink()
    shards = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (folder / "model-1.safetensors").write_bytes(b"1")
    with pytest.raises(SettingError):
        resolve_reference_model(str(folder), tmp_path)
    (folder / "model-2.safetensors").write_bytes(b"2")
    assert resolve_reference_model(str(folder), tmp_path).name == "sharded"


def test_a_folders_version_follows_its_weights_and_config_but_not_who_saved_it(tmp_path: Path) -> None:
    version = folder_version(_save_model(tmp_path / "a", transformers_version="5.0"))
    assert folder_version(_save_model(tmp_path / "b", transformers_version="6.0")) == version
    assert folder_version(_save_model(tmp_path / "c", weights=b"weighty" * 50_000)) != version
    assert folder_version(_save_model(tmp_path / "d", n_layer=3)) != version


def test_deciding_loads_neither_torch_nor_transformers(tmp_path: Path) -> None:
    import subprocess
    import sys

    _save_model(tmp_path / "mine")
    code = (
        "import sys, pathlib; from synth_assets.core.perplexity import resolve_reference_model as resolve;"
        f"resolve('mine', pathlib.Path({str(tmp_path)!r}));"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
