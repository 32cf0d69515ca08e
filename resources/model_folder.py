"""What a folder of model weights is, told from its files: whether it is whole, and which weights it holds.

In: reading safetensors headers and hashing. Out: making such a folder (`embedded_vllm`) and who serves it.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path
from typing import BinaryIO

_IDENTITY_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
)
_VOLATILE_SETTINGS = ("transformers_version", "_name_or_path", "_model_name_or_path")
"""They tell who wrote the folder, not what the model answers."""
_SAMPLE_COUNT, _SAMPLE_BYTES = 64, 4096


def is_whole(folder: Path) -> bool:
    """True when the folder can be served: configuration, tokenizer, chat template, whole weights files."""
    if not all((folder / name).is_file() for name in ("config.json", "tokenizer.json", "chat_template.jinja")):
        return False
    files = sorted(folder.glob("*.safetensors"))
    return bool(files) and all(_is_uncut(file) for file in files)


def content_revision(root: str) -> str:
    """What tells these weights from others under the same name, or "" where it cannot be told from here.

    A snapshot folder of the Hugging Face cache gives its commit. Any other folder gives a hash over its
    configuration, tokenizer and chat template, and over size, header and 64 samples of each weights file: a
    few milliseconds for any size, and no two trainings agree in 64 samples. Times and paths are no part of
    it, so copies agree.
    """
    folder = Path(root)
    commit = re.search(r"/snapshots/([0-9a-f]{40})/?$", root)
    if commit:
        return commit.group(1)
    if not (folder / "config.json").is_file():
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for name in _IDENTITY_FILES:
        if (folder / name).is_file():
            digest.update(name.encode() + b"\0" + _settled(folder / name) + b"\0")
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.name.encode() + b"\0" + _sampled(file))
    return digest.hexdigest()


def _settled(file: Path) -> bytes:
    content = file.read_bytes()
    if not file.name.endswith("config.json"):
        return content
    try:
        settings = json.loads(content)
    except ValueError:
        return content
    return json.dumps({k: v for k, v in settings.items() if k not in _VOLATILE_SETTINGS}, sort_keys=True).encode()


def _header(stream: BinaryIO) -> bytes:
    """The JSON header; raises ValueError where the file is no safetensors."""
    prefix = stream.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
    # The format's own limit is 100 MB; a longer "header" is another kind of file.
    if not 2 <= length <= 100_000_000:
        raise ValueError("no safetensors header")
    return stream.read(length)


def _is_uncut(file: Path) -> bool:
    with file.open("rb") as stream:
        try:
            raw = _header(stream)
            tensors = {name: entry for name, entry in json.loads(raw).items() if name != "__metadata__"}
            end = max(entry["data_offsets"][1] for entry in tensors.values())
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return False
    return file.stat().st_size == 8 + len(raw) + end


def _sampled(file: Path) -> bytes:
    size = file.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with file.open("rb") as stream:
        try:
            digest.update(_header(stream))
        except ValueError:
            digest.update(b"no header")
        for sample in range(_SAMPLE_COUNT):
            stream.seek(size * sample // _SAMPLE_COUNT)
            digest.update(stream.read(_SAMPLE_BYTES))
    return digest.digest()
