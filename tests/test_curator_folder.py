"""The Curator folder as names with content versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resources.errors import SynthError
from synth_assets.curator_folder import CuratorFolder


def put(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_a_version_follows_the_content_and_not_the_name_or_the_time(tmp_path):
    first = put(tmp_path, "a.jsonl", "one\n")
    put(tmp_path, "sub/b.jsonl", "one\n")
    put(tmp_path, "c.jsonl", "two\n")
    folder = CuratorFolder(tmp_path)
    versions = folder.versions()
    assert list(versions) == ["a.jsonl", "c.jsonl", "sub/b.jsonl"]
    assert versions["a.jsonl"] == versions["sub/b.jsonl"] != versions["c.jsonl"]
    os.utime(first, (1, 1))
    assert folder.versions() == versions


def test_a_file_of_the_same_size_that_was_rewritten_has_another_version(tmp_path):
    path = put(tmp_path, "a.jsonl", "one\n")
    os.utime(path, (1, 1))
    folder = CuratorFolder(tmp_path)
    before = folder.versions()
    put(tmp_path, "a.jsonl", "two\n")
    os.utime(path, (2, 2))
    assert folder.versions() != before


def test_the_next_process_takes_known_hashes_instead_of_reading(tmp_path):
    path = put(tmp_path / "corpus", "a.jsonl", "one\n")
    os.utime(path, (1, 1))
    cache = tmp_path / "home" / "curator_files.json"
    first = CuratorFolder(tmp_path / "corpus", cache)
    versions = first.versions()
    assert not cache.exists()
    first.save_cache()
    status = path.stat()
    path.write_text("two\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert CuratorFolder(tmp_path / "corpus", cache).versions() == versions
    assert [file.name for file in cache.parent.iterdir()] == [cache.name]


def test_versions_of_named_files_leave_out_those_that_are_gone(tmp_path):
    put(tmp_path, "a.jsonl", "one\n")
    put(tmp_path, "b.jsonl", "two\n")
    assert list(CuratorFolder(tmp_path).versions(["b.jsonl", "gone.jsonl"])) == ["b.jsonl"]


def test_the_path_of_a_file_that_is_gone_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(SynthError, match="synth run"):
        CuratorFolder(tmp_path).file("gone.jsonl")


def test_a_file_that_was_written_a_moment_ago_is_read_again_since_its_time_says_too_little(tmp_path):
    path = put(tmp_path, "a.jsonl", "one\n")
    status = path.stat()
    folder = CuratorFolder(tmp_path)
    before = folder.versions()
    path.write_text("two\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder.versions() != before


def test_hashes_of_another_folder_with_the_same_names_are_not_taken(tmp_path):
    for folder, content in (("one", "one\n"), ("two", "two\n")):
        os.utime(put(tmp_path / folder, "a.jsonl", content), (1, 1))
    cache = tmp_path / "curator_files.json"
    first = CuratorFolder(tmp_path / "one", cache)
    versions = first.versions()
    first.save_cache()
    assert CuratorFolder(tmp_path / "two", cache).versions() != versions


def test_hashes_in_the_first_versions_form_are_made_anew(tmp_path):
    os.utime(put(tmp_path / "corpus", "a.jsonl", "one\n"), (1, 1))
    cache = tmp_path / "curator_files.json"
    cache.write_text('{"a.jsonl": [4, 1000000000, "stale"]}')
    assert CuratorFolder(tmp_path / "corpus", cache).versions()["a.jsonl"] != "stale"


@pytest.mark.parametrize("content", ["", '{"address": "x"', "[]", '{"address": 3, "files": {}}', "\x00"])
def test_hashes_that_are_cut_off_or_of_another_shape_are_made_anew(tmp_path, content):
    os.utime(put(tmp_path / "corpus", "a.jsonl", "one\n"), (1, 1))
    cache = tmp_path / "curator_files.json"
    cache.write_text(content)
    folder = CuratorFolder(tmp_path / "corpus", cache)
    assert list(folder.versions()) == ["a.jsonl"]
    folder.save_cache()
    assert CuratorFolder(tmp_path / "corpus", cache).versions() == folder.versions()
