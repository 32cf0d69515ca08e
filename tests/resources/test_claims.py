"""Claims: one holder for each key, among threads, processes and machines, and none left behind by the dead."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path

import pytest

from resources.claims import claim_number, open_claims
from resources.errors import LakeError
from resources.inference import RequestClaims
from resources.lake_address import LakeAddress

POSTGRES_PROGRAMS = Path(next(iter(sorted(glob("/usr/lib/postgresql/*/bin"))), "/nowhere"))
"""Debian keeps initdb and pg_ctl off the path, by version."""

HOLD = """
import subprocess, sys
from resources.claims import open_claims
from resources.lake_address import LakeAddress

with open_claims(LakeAddress(sys.argv[1], sys.argv[2])) as claims:
    claimed = claims.claim(sys.argv[3:])
    child = subprocess.Popen(["sleep", "600"])
    print(len(claimed), child.pid, flush=True)
    sys.stdin.read()
"""
"""Holds keys, and has a child that outlives it."""

Open = Callable[[], RequestClaims]


def run_as_owner(folder: Path, *command: str | Path) -> None:
    """PostgreSQL refuses root: as root its programs run as the user that Debian's package made."""
    owner = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    subprocess.run(list(map(str, command)), check=True, capture_output=True, cwd=folder, **owner)


@pytest.fixture(scope="session")
def postgres_catalog() -> Iterator[str]:
    """A PostgreSQL server of its own on a socket in a temporary folder, with few locks."""
    if not (POSTGRES_PROGRAMS / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    is_root = os.geteuid() == 0
    # Not under pytest's folder, which only its owner may enter; a socket's path holds 107 bytes.
    folder = Path(subprocess.run(["mktemp", "-d"], check=True, capture_output=True, text=True).stdout.strip())
    if is_root:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    data = folder / "data"
    try:
        run_as_owner(folder, POSTGRES_PROGRAMS / "initdb", "-D", data, "-A", "trust", "-U", "synth", "--no-sync")
        options = f"-k {folder} -c listen_addresses='' -c max_locks_per_transaction=10 -c max_connections=20"
        start = [POSTGRES_PROGRAMS / "pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start"]
        run_as_owner(folder, *start)
        yield f"postgres:host={folder} user=synth dbname=postgres"
    finally:
        if (data / "postmaster.pid").exists():
            run_as_owner(folder, POSTGRES_PROGRAMS / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> LakeAddress:
    if request.param == "postgres":
        return LakeAddress(request.getfixturevalue("postgres_catalog"), str(tmp_path / "data"))
    return LakeAddress(f"sqlite:{tmp_path}/lake/catalog.sqlite", str(tmp_path / "data"))


@pytest.fixture
def open_one(address: LakeAddress) -> Open:
    return lambda: open_claims(address)


@pytest.fixture
def holder(address: LakeAddress) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the keys a and b until it is killed; its child lives on."""
    command = [sys.executable, "-c", HOLD, address.catalog, address.data_path, "a", "b"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    claimed, child = process.stdout.readline().split()
    assert claimed == "2"
    yield process
    os.kill(int(child), signal.SIGKILL)
    process.kill()
    process.communicate()


def test_a_key_has_one_holder_until_it_is_released(open_one: Open) -> None:
    with open_one() as first, open_one() as second:
        assert first.claim(["a", "b"]) == {"a", "b"}
        assert second.claim(["b", "c"]) == {"c"}
        first.release(["b", "never claimed"])
        assert second.claim(["a", "b"]) == {"b"}


def test_what_is_claimed_already_stays_ours_and_one_release_frees_it(open_one: Open) -> None:
    with open_one() as first, open_one() as second:
        first.claim(["a"])
        assert first.claim(["a", "b"]) == {"a", "b"}
        first.release(["a"])
        assert second.claim(["a"]) == {"a"}


def test_nobody_can_release_the_claim_of_another(open_one: Open) -> None:
    with open_one() as first, open_one() as second:
        first.claim(["a"])
        second.release(["a"])
        assert second.claim(["a"]) == set()


def test_leaving_frees_everything_and_nothing_of_anybody_else(open_one: Open) -> None:
    with open_one() as staying, open_one() as later:
        staying.claim(["kept"])
        with open_one() as leaving:
            leaving.claim(["a", "b"])
        assert later.claim(["a", "b", "kept"]) == {"a", "b"}


def test_of_many_threads_each_key_goes_to_exactly_one(open_one: Open) -> None:
    keys = [f"key-{number}" for number in range(200)]
    won: list[set[str]] = []
    everybody_claimed = threading.Barrier(8)

    def take() -> None:
        with open_one() as claims:
            won.append(claims.claim(keys))
            everybody_claimed.wait()

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key for part in won for key in part) == sorted(keys)


def test_a_killed_process_leaves_no_claim_behind_though_its_child_lives_on(
    holder: subprocess.Popen[str], open_one: Open
) -> None:
    with open_one() as claims:
        assert claims.claim(["a", "b", "c"]) == {"c"}
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        won: set[str] = set()
        # A file's locks end with the process; PostgreSQL hears of the closed connection in a moment.
        while len(won) < 2:
            won |= claims.claim(["a", "b"])


def test_nothing_is_made_before_the_first_claim_and_nothing_is_stored_by_one(tmp_path: Path) -> None:
    address = LakeAddress(f"sqlite:{tmp_path}/lake/catalog.sqlite", str(tmp_path / "data"))
    with open_claims(address) as claims:
        claims.release(["a"])
        assert list(tmp_path.iterdir()) == []
        claims.claim(["a", "b"])
        assert [path.stat().st_size for path in (tmp_path / "lake").iterdir()] == [0]


def test_no_descriptor_is_left_open_when_all_claims_are_free(tmp_path: Path) -> None:
    address = LakeAddress(f"sqlite:{tmp_path}/catalog.sqlite", str(tmp_path / "data"))
    before = len(os.listdir("/dev/fd"))
    with open_claims(address) as first, open_claims(address) as second:
        first.claim(["a"])
        second.claim(["b"])
        first.release(["a"])
        assert len(os.listdir("/dev/fd")) == before + 1
    assert len(os.listdir("/dev/fd")) == before


def test_claims_of_one_process_hold_across_a_link_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    one, other = (LakeAddress(f"sqlite:{tmp_path}/{name}/catalog.sqlite", "data") for name in ("real", "link"))
    with open_claims(one) as first, open_claims(other) as second:
        first.claim(["a"])
        assert second.claim(["a"]) == set()


def test_a_folder_that_cannot_be_made_is_named_as_the_lakes(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file")
    address = LakeAddress(f"sqlite:{tmp_path}/lake/catalog.sqlite", str(tmp_path / "data"))
    with pytest.raises(LakeError, match="LAKE_CATALOG"), open_claims(address) as claims:
        claims.claim(["a"])


def test_a_full_lock_table_says_so_and_leaves_no_claim_behind(postgres_catalog: str) -> None:
    address = LakeAddress(postgres_catalog, "data")
    many = [f"key-{number}" for number in range(5000)]
    with open_claims(address) as claims:
        with pytest.raises(LakeError, match="max_locks_per_transaction"):
            claims.claim(many)
        with pytest.raises(LakeError, match="max_locks_per_transaction"):
            claims.claim(["another"])
        won: set[str] = set()
        while len(won) < 100:
            # Until the server has given the failed session's locks back, it refuses new sessions, too.
            with contextlib.suppress(LakeError), open_claims(address) as other:
                won = other.claim(many[:100])


def test_a_lost_connection_ends_claiming_and_releasing_after_it_is_harmless(postgres_catalog: str) -> None:
    import psycopg2

    with open_claims(LakeAddress(postgres_catalog, "data")) as claims:
        claims.claim(["a"])
        administrator = psycopg2.connect(postgres_catalog.removeprefix("postgres:"))
        with administrator, administrator.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'synth_claims'"
            )
        administrator.close()
        claims.release(["a"])
        with pytest.raises(LakeError, match="PostgreSQL catalogue cannot be reached"):
            claims.claim(["b"])


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    address = LakeAddress("postgres:host=127.0.0.1 port=1 user=synth password=secret dbname=lake", "data")
    with open_claims(address) as claims, pytest.raises(LakeError, match="cannot be reached") as caught:
        claims.claim(["a"])
    assert "secret" not in str(caught.value)


def test_numbers_of_keys_fit_a_bigint_and_a_file_offset_and_differ() -> None:
    numbers = {claim_number(f"key-{number}") for number in range(10_000)}
    assert len(numbers) == 10_000
    assert min(numbers) >= 0
    assert max(numbers) < 2**62
