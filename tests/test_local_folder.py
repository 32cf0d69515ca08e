"""Listing a local folder: what is found, what is left out, and what is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resources.errors import SynthError
from synth_assets.core.curator_files import CuratorFile, CuratorFolderError
from synth_assets.local_folder import LocalFolder


def files(folder: Path) -> dict[str, CuratorFile]:
    return LocalFolder(folder).files()


def test_files_are_found_in_subfolders_sorted_by_their_relative_path(tmp_path):
    for name in ("b.jsonl", "sub/deep/c.parquet", "sub/a.jsonl.gz", "A.JSONL", "2024 x/ü.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = files(tmp_path)
    assert list(found) == ["2024 x/ü.jsonl", "A.JSONL", "b.jsonl", "sub/a.jsonl.gz", "sub/deep/c.parquet"]
    assert found["sub/a.jsonl.gz"].source == tmp_path / "sub" / "a.jsonl.gz"


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.jsonl",
        "_metadata.parquet",
        ".git/a.jsonl",
        "_temporary/0/a.jsonl",
        "a.jsonl.tmp",
        "a.tmp.jsonl",
        "a.partial.jsonl.gz",
        "a.json",
        "a.gz",
        "README.md",
    ],
)
def test_what_is_no_curator_output_is_left_out(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    (tmp_path / "kept.jsonl").touch()
    assert list(files(tmp_path)) == ["kept.jsonl"]


def test_a_folder_named_like_a_file_is_searched_and_not_listed(tmp_path):
    (tmp_path / "a.parquet").mkdir()
    (tmp_path / "a.parquet" / "part-0.parquet").touch()
    assert list(files(tmp_path)) == ["a.parquet/part-0.parquet"]


def test_a_missing_folder_names_the_setting(tmp_path):
    with pytest.raises(CuratorFolderError, match=r"CURATOR_OUTPUT_DIR is .*nowhere, which does not exist"):
        files(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(CuratorFolderError, match="is a file, not a folder"):
        files(tmp_path / "file")


@pytest.mark.parametrize("name", [b"line\nbreak.jsonl", b"latin\xff.jsonl", b"dots...jsonl"])
def test_a_name_that_cannot_be_a_partition_key_is_an_error(tmp_path, name):
    Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).touch()
    with pytest.raises(CuratorFolderError, match="partition key") as caught:
        files(tmp_path)
    str(caught.value).encode()


def test_a_file_comes_with_its_size_and_time_and_a_later_look_at_it_says_the_same(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("twelve bytes")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    found = files(tmp_path)["a.jsonl"]
    assert (found.size_bytes, found.modified_ns) == (12, 1_700_000_000_123_456_789)
    assert LocalFolder(tmp_path).find("a.jsonl") == found
    path.unlink()
    assert LocalFolder(tmp_path).find("a.jsonl") is None


def test_a_link_to_a_file_is_found_and_one_to_a_folder_or_to_nothing_is_not(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.jsonl").write_text("x")
    (corpus / "linked.jsonl").symlink_to(tmp_path / "elsewhere" / "a.jsonl")
    (corpus / "broken.jsonl").symlink_to(tmp_path / "nowhere")
    (corpus / "folder").symlink_to(tmp_path / "elsewhere")
    assert {name: file.size_bytes for name, file in files(corpus).items()} == {"linked.jsonl": 1}


def test_the_error_belongs_to_the_family_that_users_can_act_on():
    assert issubclass(CuratorFolderError, SynthError)
