"""A disk that is full or read-only: nothing half written, the folder named, and the next run goes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.errors import LakeError
from resources.testing import Behaviour, Fault

GENEROUS_SECONDS = 120
NEEDED = 6


class SmallDisk:
    """A file system of its own in memory, of 20 MB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        with (self.folder / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def make_room(self) -> None:
        (self.folder / "filler").unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system is refused here")
    yield SmallDisk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def six_articles(workplace, make_article):
    workplace.write("a.jsonl", [make_article(number) for number in range(NEEDED)])
    workplace.environment["JUDGE_SHARE"] = "0"
    return workplace


def full_from(ordinal, disk):
    """Fills the disk when the server gets its n-th request."""

    def strike(body):
        nonlocal ordinal
        ordinal -= 1
        if ordinal == 0:
            disk.fill()
        return False

    return Behaviour(faults=(Fault("hang", when=strike),))


def test_answers_that_no_disk_takes_are_counted_and_asked_for_again(six_articles, small_disk):
    data = small_disk.folder / "data"
    six_articles.environment["LAKE_DATA_PATH"] = str(data)
    six_articles.server.behaviour = full_from(3, small_disk)
    with pytest.raises(LakeError, match="full") as caught:
        six_articles.run(strategies=["distill"])
    assert str(data) in str(caught.value)
    assert "run again" in str(caught.value)
    (note,) = caught.value.__notes__
    lost = int(note.split()[0])
    assert lost == six_articles.server.answered_count > 0
    six_articles.lake.close()

    small_disk.make_room()
    six_articles.server.behaviour = Behaviour()
    before = six_articles.server.request_count
    summary, _ = six_articles.run(strategies=["distill"])
    assert summary.failed == []
    assert six_articles.server.request_count - before == NEEDED
    assert six_articles.rows("SELECT count(*) n FROM rephrased.distill")[0]["n"] == NEEDED


@pytest.mark.parametrize("place", ["SYNTH_HOME", "TMPDIR", "dagster"])
def test_a_full_disk_ends_the_command_with_its_folder_and_the_next_run_goes_on(
    six_articles, start_synth, small_disk, place
):
    settings = {}
    if place == "dagster":
        six_articles.home.mkdir()
        (six_articles.home / "dagster").symlink_to(small_disk.folder)
    else:
        settings[place] = str(small_disk.folder)
    home = Path(settings.get("SYNTH_HOME", six_articles.home))
    six_articles.server.behaviour = full_from(NEEDED, small_disk)
    process = start_synth("run", "--strategies", "distill", **settings)
    _, stderr = process.communicate(timeout=GENEROUS_SECONDS)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr, stderr
    assert "full" in stderr
    assert str(small_disk.folder) in stderr or str(home) in stderr
    six_articles.home = home

    small_disk.make_room()
    six_articles.server.behaviour = Behaviour()
    summary, _ = six_articles.run(strategies=["distill"])
    assert summary.failed == []
    assert six_articles.rows("SELECT count(*) n FROM rephrased.distill")[0]["n"] == NEEDED


def test_a_read_only_home_ends_the_command_with_its_name(six_articles, start_synth, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk.folder)], check=True)
    process = start_synth("run", SYNTH_HOME=str(small_disk.folder / "home"))
    _, stderr = process.communicate(timeout=GENEROUS_SECONDS)
    assert process.returncode == 1, stderr
    assert "Traceback" not in stderr, stderr
    assert str(small_disk.folder) in stderr
    assert "SYNTH_HOME" in stderr
    assert six_articles.server.request_count == 0
