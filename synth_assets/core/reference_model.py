"""Which language model perplexity is measured with: the configured one, GPT-2, or the embedded SmolLM2.

In: the decision, made without PyTorch and with at most one short question to the hub per model and process,
and the identity of the weights. Out: loading and scoring (`language_model`, `perplexity`).
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from resources.errors import SettingError, SynthError

DEFAULT_REFERENCE_MODEL = "openai-community/gpt2"
FALLBACK_REFERENCE_MODEL = "SmolLM2-135M-Instruct"

HUB_DEADLINE_SECONDS = 4.0
"""How long the hub may take to answer, name resolution included, before it counts as unreachable."""

# Fields of JSON files that differ between two copies of the same model.
_VOLATILE_FIELDS = frozenset({"_name_or_path", "name_or_path", "transformers_version", "chat_template"})

_SAMPLED_BLOCKS = 32
_BLOCK_BYTES = 4096


@dataclass(frozen=True)
class ReferenceModel:
    """The model that perplexity is measured with. Figures of two of them are never compared."""

    name: str
    path: str
    """A local folder, or the hub name while the weights are still to be fetched (loading them fetches
    them)."""
    version: str
    """Tells two sets of weights under one name apart: the hub's commit, or a hash of the folder's content."""
    warning: str | None = None
    """What the user should know about the choice."""

    @property
    def identity(self) -> str:
        """Name and version, for fingerprints."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class _HubAnswer:
    """What the hub says about a model: its commit, or why there is none."""

    commit: str | None = None
    reason: str = ""


def resolve_reference_model(setting: str | None, models_dir: Path) -> ReferenceModel:
    """Decide on the reference model.

    `setting` (PERPLEXITY_MODEL) is a local folder, the name of a folder in `models_dir`, or a hub name,
    looked for in the local cache first. Without one it is GPT-2 where that is cached or the hub answers, else
    the embedded SmolLM2 with a warning. Raises SettingError for a setting that cannot be used, SynthError
    where there is no model at all.
    """
    if setting:
        return _configured(setting, models_dir)
    if found := _from_hub(DEFAULT_REFERENCE_MODEL):
        return found
    reason = _ask_hub(DEFAULT_REFERENCE_MODEL).reason
    fallback = models_dir / FALLBACK_REFERENCE_MODEL
    if not _is_model_folder(fallback):
        raise SynthError(
            f"There is no reference model: {DEFAULT_REFERENCE_MODEL} is not in the local cache and {reason}, "
            f"and {fallback} does not hold the embedded model.",
            "Set PERPLEXITY_MODEL to a local folder, or run `make demo` or `synth serve` once: both prepare "
            "the embedded model.",
        )
    return ReferenceModel(
        name=FALLBACK_REFERENCE_MODEL,
        path=str(fallback),
        version=folder_version(fallback),
        warning=(
            f"{DEFAULT_REFERENCE_MODEL} is not at hand ({reason}), so perplexity is measured with "
            f"{FALLBACK_REFERENCE_MODEL}. Set PERPLEXITY_MODEL to a local folder to use another model."
        ),
    )


def _configured(setting: str, models_dir: Path) -> ReferenceModel:
    for folder in (Path(setting).expanduser(), models_dir / setting):
        if folder.is_dir():
            if not _is_model_folder(folder):
                raise _unusable(setting, f"{folder} has no config.json, no tokenizer or no complete weights")
            return ReferenceModel(folder.resolve().name, str(folder.resolve()), folder_version(folder))
    if setting.startswith((".", "/", "~")) or setting.count("/") > 1:
        raise _unusable(setting, "there is no such folder")
    if found := _from_hub(setting):
        return found
    raise _unusable(setting, f"it is not in the local cache and {_ask_hub(setting).reason}")


def _unusable(setting: str, reason: str) -> SettingError:
    return SettingError(
        f"PERPLEXITY_MODEL={setting!r} cannot be used: {reason}.",
        "Accepted: a folder with a causal language model (config.json, tokenizer, safetensors), or the name "
        "of one on the Hugging Face hub that is cached or can be fetched.",
    )


def _from_hub(name: str) -> ReferenceModel | None:
    """The model from the local cache, or by name where the hub has it; None where neither is at hand."""
    if snapshot := _cached_snapshot(name):
        return ReferenceModel(name, str(snapshot), snapshot.name)
    answer = _ask_hub(name)
    return ReferenceModel(name, name, answer.commit) if answer.commit else None


def _cached_snapshot(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        return None
    snapshot = Path(config).parent if isinstance(config, str) else None
    return snapshot if snapshot and _is_model_folder(snapshot) else None


@cache
def _ask_hub(name: str) -> _HubAnswer:
    """Ask once per process. In a thread, because a name server that does not answer has no time-out of its
    own."""
    answers: list[_HubAnswer] = []
    thread = threading.Thread(target=lambda: answers.append(_model_commit(name)), daemon=True)
    thread.start()
    thread.join(HUB_DEADLINE_SECONDS)
    return answers[0] if answers else _HubAnswer(reason="the hub does not answer")


def _model_commit(name: str) -> _HubAnswer:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    try:
        return _HubAnswer(commit=HfApi().model_info(name, timeout=HUB_DEADLINE_SECONDS).sha, reason="has no commit")
    except OfflineModeIsEnabled:
        return _HubAnswer(reason="the hub is switched off (HF_HUB_OFFLINE)")
    except HFValidationError:
        return _HubAnswer(reason="is no name that the hub could have")
    except HfHubHTTPError as error:
        return _HubAnswer(reason=f"the hub answers {error.response.status_code}")
    except Exception as error:
        # The HTTP client's errors are its own; whichever it is, there is no answer.
        return _HubAnswer(reason=f"the hub cannot be reached ({type(error).__name__})")


def _is_model_folder(folder: Path) -> bool:
    """Whether config, tokenizer and all weights are there (a cache can hold a part of a model)."""
    tokenizers = ("tokenizer.json", "vocab.json", "tokenizer.model")
    has_tokenizer = any((folder / name).is_file() for name in tokenizers)
    return (folder / "config.json").is_file() and has_tokenizer and bool(_weight_files(folder))


def _weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights; none where one is missing."""
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        files = [folder / name for name in sorted(names)]
        return files if all(file.is_file() for file in files) else []
    single = (folder / "model.safetensors", folder / "pytorch_model.bin")
    return [file for file in single if file.is_file()][:1]


def folder_version(folder: Path) -> str:
    """Hash of a model folder: its config, tokenizer, and size, header and evenly spread samples of its
    weights.

    Reads some hundred kilobytes, however large the model is.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            stable = {key: value for key, value in content.items() if key not in _VOLATILE_FIELDS}
            digest.update(json.dumps(stable, sort_keys=True).encode())
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model"):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    for file in _weight_files(folder):
        size = file.stat().st_size
        digest.update(str(size).encode())
        with file.open("rb") as weights:
            digest.update(weights.read(2**16))
            for block in range(_SAMPLED_BLOCKS):
                weights.seek(size * block // _SAMPLED_BLOCKS)
                digest.update(weights.read(_BLOCK_BYTES))
    return digest.hexdigest()
