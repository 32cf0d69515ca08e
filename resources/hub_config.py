"""The `config.json` of a model on the Hugging Face hub: from the local cache, or asked for once, briefly.

In: the parsed file by the model's hub name. Out: what its fields mean (`synth_assets.core.model_config`).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

HUB_DEADLINE_SECONDS = 3.0
"""How long the hub may take, name resolution included, before it counts as unreachable."""

_FILE = "config.json"
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@cache
def hub_config(name: str) -> Mapping[str, Any] | None:
    """The config of `organisation/model`; None for another form of name, and where it is not to be had.

    The answer holds for the process, so that a hub that cannot be reached is waited for once.
    """
    if not _HUB_NAME.fullmatch(name):
        return None
    file = _cached(name) or _downloaded(name)
    if file is None:
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _cached(name: str) -> Path | None:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    try:
        file = huggingface_hub.try_to_load_from_cache(name, _FILE)
    except HFValidationError:
        return None
    return Path(file) if isinstance(file, str) else None


def _downloaded(name: str) -> Path | None:
    """In a thread, because a name server that does not answer has no time-out of its own."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return None
    found: list[Path] = []
    thread = threading.Thread(target=_download, args=(name, found), daemon=True)
    thread.start()
    thread.join(HUB_DEADLINE_SECONDS)
    return found[0] if found else None


def _download(name: str, found: list[Path]) -> None:
    import huggingface_hub

    # The HTTP client's errors are its own; whichever it is, there is no config. The download tries six times and warns
    # each time, so one quick question comes first.
    with suppress(Exception):
        huggingface_hub.HfApi().model_info(name, timeout=HUB_DEADLINE_SECONDS)
        found.append(Path(huggingface_hub.hf_hub_download(name, _FILE, etag_timeout=HUB_DEADLINE_SECONDS)))
