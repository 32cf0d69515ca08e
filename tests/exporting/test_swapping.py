"""A directory of exports: whole or plainly unfinished, whatever is killed when; nobody else's file is touched."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from resources.errors import SynthError
from synth_assets.exporting.swapping import STAGING_NAME, staged_export

KILLED_AT_A_RENAME = """
import os, signal, sys
from pathlib import Path
from synth_assets.exporting.swapping import staged_export

renames = 0
rename = os.replace

def counted(source, target):
    global renames
    if renames == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    renames += 1
    rename(source, target)

os.replace = counted
with staged_export(Path(sys.argv[1])) as folder:
    for name in ("new-0.parquet", "same.parquet", "README.md"):
        (folder / name).write_text("new")
    files = [{"path": "new-0.parquet"}, {"path": "same.parquet"}, {"path": "README.md"}]
    import json
    (folder / "manifest.json").write_text(json.dumps({"made_by": "synth_assets", "files": files}))
"""


def export(directory: Path, *names: str, content: str = "text") -> None:
    with staged_export(directory) as folder:
        for name in (*names, "README.md"):
            (folder / name).write_text(content)
        files = [{"path": name} for name in (*names, "README.md")]
        (folder / "manifest.json").write_text(json.dumps({"made_by": "synth_assets", "files": files}))


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_fewer_shards_remove_the_old_ones_and_no_file_of_anybody_else(tmp_path):
    export(tmp_path, "a-0.parquet", "a-1.parquet")
    (tmp_path / "mine.parquet").write_text("mine")
    export(tmp_path, "a.parquet")
    assert names_in(tmp_path) == ["README.md", "a.parquet", "manifest.json", "mine.parquet"]


def test_an_export_in_another_format_stays(tmp_path):
    export(tmp_path, "a.parquet")
    export(tmp_path, "a.jsonl")
    assert {"a.parquet", "a.jsonl"} <= set(names_in(tmp_path))


def test_an_export_that_fails_leaves_the_old_one_as_it_was(tmp_path):
    export(tmp_path, "a.parquet", content="old")
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(IsADirectoryError), staged_export(tmp_path) as folder:
        folder.write_text("a folder cannot be written")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["README.md", "manifest.json"])
def test_somebody_elses_card_or_manifest_is_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(SynthError, match=name):
        export(tmp_path, "a.parquet")
    assert names_in(tmp_path) == [name]


def test_a_manifest_that_names_files_elsewhere_removes_none_of_them(tmp_path):
    outside = tmp_path / "outside.parquet"
    outside.write_text("mine")
    files = [{"path": "../outside.parquet"}]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({"made_by": "synth_assets", "files": files}))
    export(tmp_path / "out", "a.parquet")
    assert outside.read_text() == "mine"


def test_two_exports_never_write_to_one_directory_at_a_time(tmp_path):
    with pytest.raises(SynthError, match="Another export"), staged_export(tmp_path), staged_export(tmp_path):
        pass


@pytest.mark.parametrize("renames", range(6))
def test_killed_at_any_rename_the_directory_is_whole_or_says_that_it_is_not(tmp_path, renames):
    export(tmp_path, "old-0.parquet", "same.parquet", content="old")
    subprocess.run([sys.executable, "-c", KILLED_AT_A_RENAME, str(tmp_path), str(renames)], check=False, timeout=60)
    if (tmp_path / "manifest.json").exists():
        listed = json.loads((tmp_path / "manifest.json").read_text())["files"]
        contents = {(tmp_path / file["path"]).read_text() for file in listed}
        assert len(contents) == 1
    else:
        assert (tmp_path / STAGING_NAME).is_dir()
    export(tmp_path, "last.parquet", content="last")
    assert names_in(tmp_path) == ["README.md", "last.parquet", "manifest.json"]
    assert (tmp_path / "README.md").read_text() == "last"
