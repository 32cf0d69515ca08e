"""The settings of one process: read from the environment once, checked at once, passed on as a value.

In: every environment variable that the project understands. Out: reading the environment anywhere else, except for
secrets (`VLLM_API_KEY`, `JUDGE_API_KEY`), which are read where they are used and stored nowhere.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from resources.errors import SettingError
from synth_assets.core.hardware import Hardware
from synth_assets.object_store import OBJECT_STORE_SCHEMES

SAMPLE_CORPUS = Path(__file__).parent / "sample_corpus"
"""The corpus that the package ships; used where CURATOR_OUTPUT_DIR is not set."""

_ON, _OFF = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True)
class Settings:
    """Everything that can be set; see the README's table of settings for the meaning of each."""

    curator_output_dir: Path | str
    """A local folder, or the address of an object store (text)."""
    curator_asset: str | None
    home: Path
    lake_catalog: str
    lake_data_path: str
    vllm_base_url: str
    vllm_model: str | None
    max_parallel_requests: int
    max_output_tokens: int | None
    keeps_markdown: bool
    is_source_before_questions: bool
    judge_model: str | None
    judge_base_url: str
    judge_share: float
    perplexity_model: str | None
    models_dir: Path
    evaluation_sets: Path | None
    decontamination_ngram: int
    hardware: Hardware
    max_usd: float | None = None
    max_gpu_hours: float | None = None

    @property
    def server_count(self) -> int:
        """Number of model servers that rephrase."""
        return self.vllm_base_url.count(",") + 1

    @property
    def judge_server_count(self) -> int:
        """Number of model servers that judge."""
        return self.judge_base_url.count(",") + 1

    @property
    def requests_in_flight(self) -> int:
        """At all of the rephraser's servers together."""
        return self.max_parallel_requests * self.server_count

    @property
    def judge_requests_in_flight(self) -> int:
        """At all of the judge's servers together."""
        return self.max_parallel_requests * self.judge_server_count

    @property
    def reports_dir(self) -> Path:
        """Where reports are written."""
        return self.home / "reports"

    @property
    def exports_dir(self) -> Path:
        """Where the export assets write."""
        return self.home / "exports"

    @property
    def dagster_home(self) -> Path:
        """Dagster's own storage."""
        return self.home / "dagster"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check all settings; raises SettingError that names the setting, its value and what is accepted."""
        env = {name: value for name, value in (environment or os.environ).items() if value.strip()}
        home = Path(env.get("SYNTH_HOME", ".synth")).expanduser().resolve()
        base_url = _urls("VLLM_BASE_URL", env.get("VLLM_BASE_URL", "http://127.0.0.1:8000/v1"))
        models_dir = env.get("SYNTH_MODELS", "~/.cache/synth_assets/models")
        return cls(
            curator_output_dir=_folder_or_store(env.get("CURATOR_OUTPUT_DIR", str(SAMPLE_CORPUS)).strip()),
            curator_asset=_asset("CURATOR_ASSET", env),
            home=home,
            lake_catalog=_catalog(env.get("LAKE_CATALOG", f"sqlite:{home}/lake/catalog.sqlite")),
            lake_data_path=env.get("LAKE_DATA_PATH", f"{home}/lake/data"),
            vllm_base_url=base_url,
            vllm_model=env.get("VLLM_MODEL"),
            max_parallel_requests=_positive_int("VLLM_MAX_PARALLEL_REQUESTS", env, 64),
            max_output_tokens=_optional_int("MAX_OUTPUT_TOKENS", env),
            keeps_markdown=_switch("KEEP_MARKDOWN", env),
            is_source_before_questions=_switch("SOURCE_BEFORE_QUESTIONS", env),
            judge_model=env.get("JUDGE_MODEL", env.get("VLLM_MODEL")),
            judge_base_url=_urls("JUDGE_BASE_URL", env.get("JUDGE_BASE_URL", base_url)),
            judge_share=_share("JUDGE_SHARE", env, 1.0),
            perplexity_model=env.get("PERPLEXITY_MODEL"),
            models_dir=Path(models_dir).expanduser().resolve(),
            evaluation_sets=_optional_folder("EVALUATION_SETS", env),
            decontamination_ngram=_ngram("DECONTAMINATION_NGRAM", env),
            hardware=Hardware.parse(env.get("COST_HARDWARE", "4xH100-SXM"), _price(env)),
            max_usd=_amount("MAX_USD", env, "dollars"),
            max_gpu_hours=_amount("MAX_GPU_HOURS", env, "GPU-hours"),
        )


def _folder_or_store(value: str) -> Path | str:
    if "://" not in value:
        return Path(value).expanduser().resolve()
    accepted = f"Give a local folder, or {', '.join(f'{scheme}://' for scheme in OBJECT_STORE_SCHEMES)} and a prefix."
    try:
        parts = urlsplit(value)
    except ValueError:  # brackets that are no IPv6 address
        parts = urlsplit("")
    if parts.scheme not in OBJECT_STORE_SCHEMES or not parts.netloc:
        raise SettingError(f"CURATOR_OUTPUT_DIR is {_without_secrets(value)!r}.", accepted)
    has_user = "@" in parts.netloc and not parts.scheme.startswith("abfs")
    if parts.password is not None or has_user or parts.query or parts.fragment:
        raise SettingError(
            f"CURATOR_OUTPUT_DIR is {_without_secrets(value)!r}, with credentials or options in it.",
            f"{accepted} Keys and endpoints come from the store's own variables, such as AWS_ACCESS_KEY_ID.",
        )
    return value.rstrip("/")


def _optional_folder(name: str, env: Mapping[str, str]) -> Path | None:
    if name not in env:
        return None
    folder = Path(env[name]).expanduser().resolve()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise SettingError(f"{name} is {folder}, which {what}.", "Give a folder, or leave the setting empty.")
    return folder


def _ngram(name: str, env: Mapping[str, str]) -> int:
    value = env.get(name, "13").strip()
    if not value.isdecimal() or not 8 <= int(value) <= 13:
        raise SettingError(f"{name} is {value!r}.", "Give a whole number of words from 8 to 13.")
    return int(value)


def _without_secrets(address: str) -> str:
    return re.sub(r"//[^/]*@", "//…@", address).partition("?")[0]


def _asset(name: str, env: Mapping[str, str]) -> str | None:
    value = env.get(name, "").strip()
    if not value:
        return None
    if not all(re.fullmatch(r"[\w.-]+", part) for part in value.split("/")):
        raise SettingError(
            f"{name} is {value!r}.", "Give an asset key with `/` between its parts, such as curator/deduplicated."
        )
    return value


def _urls(name: str, value: str) -> str:
    for url in value.split(","):
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingError(
                f"{name} is {value!r}, and {url.strip()!r} is no address.",
                "Give http://host:port/v1, or several of them separated by commas.",
            )
    return ",".join(url.strip().rstrip("/") for url in value.split(","))


def _catalog(value: str) -> str:
    if not value.startswith(("sqlite:", "postgres:")):
        raise SettingError(
            f"LAKE_CATALOG is {value!r}.",
            "Accepted are sqlite:/path/to/catalog.sqlite and postgres:dbname=… host=…",
        )
    return value


def _positive_int(name: str, env: Mapping[str, str], default: int) -> int:
    value = env.get(name, str(default)).strip()
    if not value.isdecimal() or int(value) < 1:
        raise SettingError(f"{name} is {value!r}.", "Give a whole number of at least 1.")
    return int(value)


def _optional_int(name: str, env: Mapping[str, str]) -> int | None:
    return _positive_int(name, env, 0) if name in env else None


def _switch(name: str, env: Mapping[str, str]) -> bool:
    value = env.get(name, "0").strip().lower()
    if value not in _ON and value not in _OFF:
        raise SettingError(f"{name} is {env[name]!r}.", "Give 1 for yes or 0 for no.")
    return value in _ON


def _share(name: str, env: Mapping[str, str], default: float) -> float:
    value = env.get(name, str(default))
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise SettingError(f"{name} is {value!r}.", "Give a number from 0 to 1.")
    return share


def _amount(name: str, env: Mapping[str, str], unit: str) -> float | None:
    if name not in env:
        return None
    try:
        amount = float(env[name])
    except ValueError:
        amount = -1.0
    if not 0 <= amount < math.inf:
        raise SettingError(f"{name} is {env[name]!r}.", f"Give a number of {unit} from 0 on, such as 2.5.")
    return amount


def _price(env: Mapping[str, str]) -> float | None:
    value = env.get("COST_GPU_HOUR_USD")
    if value is None:
        return None
    try:
        price = float(value)
    except ValueError:
        price = -1.0
    if price < 0:
        raise SettingError(
            f"COST_GPU_HOUR_USD is {value!r}.", "Give the price of one GPU-hour in dollars, such as 2.99."
        )
    return price
