from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from resources.lake import Lake

LONG_QUERY = "SELECT sum(a.range * b.range % 7) AS n FROM range(200000) AS a, range(100000) AS b"


@pytest.fixture
def interrupts() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, as in a command; a worker of pytest ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
def test_ctrl_c_within_a_query_is_no_error_of_the_query(tmp_path) -> None:
    lake = Lake(f"sqlite:{tmp_path}/lake/catalog.sqlite", f"{tmp_path}/lake/data")
    lake.append("seed.first", pa.table({"a": [1]}))
    threading.Timer(0.5, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        lake.query(LONG_QUERY)
    assert lake.query("FROM seed.first")["a"].to_pylist() == [1]
    lake.close()
