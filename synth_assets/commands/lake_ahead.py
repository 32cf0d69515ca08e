"""The lake is opened while Python imports the rest of a command: loading DuckDB's extensions needs no interpreter.

In: starting that in a thread, and nothing else; what comes of it is found where the lake is next asked. Out: everything
that imports Dagster, since this module has to be there first.
"""

from __future__ import annotations

import contextlib
import threading

from resources.lake import Lake
from synth_assets.settings import Settings


def open_lake_ahead() -> threading.Thread:
    """Start opening the environment's lake, where there is one; raises SettingError.

    Whoever asks the lake in the meantime waits for the same connection. A lake that cannot be opened is their error to
    show. The process does not end before the thread does: DuckDB cannot be torn down in the middle of it.
    """
    settings = Settings.from_environment()
    thread = threading.Thread(target=_open, args=[Lake(settings.lake_catalog, settings.lake_data_path)])
    thread.start()
    return thread


def _open(lake: Lake) -> None:
    with contextlib.suppress(Exception):
        lake.snapshot_id()
