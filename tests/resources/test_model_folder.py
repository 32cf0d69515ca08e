from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from resources.model_folder import content_revision, is_whole


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "transformers_version": "5.0"}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    weights = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    save_file({"weight": weights}, folder / "model.safetensors")
    return folder


def test_a_complete_folder_is_whole(folder: Path) -> None:
    assert is_whole(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"])
def test_a_folder_that_lacks_a_file_is_not_whole(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert not is_whole(folder)


@pytest.mark.parametrize("kept_bytes", [0, 5, 40, 2000, -1])
def test_a_weights_file_that_was_cut_short_is_not_whole(folder: Path, kept_bytes: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept_bytes])
    assert not is_whole(folder)


def test_weights_that_are_no_safetensors_are_not_whole(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0" + b"[1, 2, 3, 4, 5] ")
    assert not is_whole(folder)


def test_copies_agree_whatever_their_path_and_time(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    os.utime(copy / "model.safetensors", (1, 1))
    assert content_revision(str(copy)) == content_revision(str(folder)) != ""


def test_another_training_with_the_same_shapes_is_another_revision(folder: Path) -> None:
    before = content_revision(str(folder))
    weights = np.random.default_rng(1).standard_normal((256, 256)).astype(np.float32)
    save_file({"weight": weights}, folder / "model.safetensors")
    assert content_revision(str(folder)) != before


def test_another_chat_template_is_another_revision(folder: Path) -> None:
    before = content_revision(str(folder))
    (folder / "chat_template.jinja").write_text("{{ messages | reverse }}")
    assert content_revision(str(folder)) != before


def test_the_library_that_wrote_the_folder_is_no_part_of_the_revision(folder: Path) -> None:
    before = content_revision(str(folder))
    (folder / "config.json").write_text(json.dumps({"transformers_version": "6.0", "model_type": "llama"}))
    assert content_revision(str(folder)) == before


def test_a_hub_snapshot_gives_its_commit() -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert content_revision(f"/root/.cache/huggingface/hub/models--x--y/snapshots/{commit}") == commit


def test_a_hub_name_gives_no_revision() -> None:
    assert content_revision("openai-community/gpt2") == ""
