"""The rephrasing strategies: one file here is one strategy and one table `rephrased.<file name>`.

In: finding the files and holding them to what a strategy must have. Out: the strategies themselves. A new
file needs no entry anywhere; one that does not conform is an error that names what is missing.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType

from resources.errors import SynthError
from synth_assets.core.strategy import Strategy

RESERVED_NAMES = frozenset(
    ["original", "mix", "total", "judge", "document_id", "curator_file", "title", "url", "text", "strategy"]
)
"""What stands beside a strategy's name in the merged tables and the reports."""


class StrategyError(SynthError):
    """A file in the strategies folder is no strategy, or no file has the strategy that was asked for."""


def discover(package: ModuleType | None = None) -> tuple[Strategy, ...]:
    """Every strategy of the package (this one by default), sorted by name.

    Modules whose name starts with an underscore are helpers and left out. Raises StrategyError, which names
    the file and what is wrong with it.
    """
    package = package or sys.modules[__name__]
    found = [info for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_")]
    strategies = [_load(package, info.name) for info in found]
    return tuple(sorted(strategies, key=lambda strategy: strategy.name))


def by_name(name: str, package: ModuleType | None = None) -> Strategy:
    """The strategy of that name; StrategyError, which lists the names there are, when none has it."""
    strategies = {strategy.name: strategy for strategy in discover(package)}
    if name not in strategies:
        raise StrategyError(f"There is no strategy {name!r}.", f"Choose one of: {', '.join(strategies)}.")
    return strategies[name]


def _load(package: ModuleType, name: str) -> Strategy:
    try:
        module = importlib.import_module(f"{package.__name__}.{name}")
    except Exception as error:
        raise StrategyError(
            f"The strategy file {name}.py of {package.__name__} cannot be imported: {error!r}.",
            "Correct it, or let its name start with an underscore if it is no strategy.",
        ) from error
    file = module.__file__ or name
    strategy = getattr(module, "STRATEGY", None)
    if not isinstance(strategy, Strategy):
        has = "has no STRATEGY" if strategy is None else f"has a STRATEGY that is a {type(strategy).__name__}"
        raise StrategyError(
            f"{file} {has}.",
            f"Define `STRATEGY = Strategy(name={name!r}, …)`, or let the name start with an underscore.",
        )
    if problems := list(_problems(strategy, name)):
        raise StrategyError(f"The strategy in {file} does not conform: {'; '.join(problems)}.", "Correct the file.")
    return strategy


def _problems(strategy: Strategy, module_name: str) -> Iterator[str]:
    if strategy.name != module_name:
        yield f"its name is {strategy.name!r}, but must be that of the file, {module_name!r}"
    if not (strategy.name.isidentifier() and strategy.name.islower() and strategy.name.isascii()):
        yield f"its name {strategy.name!r} is no lower-case identifier, which a table's name has to be"
    if strategy.name in RESERVED_NAMES:
        yield f"the name {strategy.name!r} is taken by a column or a row of the tables it would stand in"
    if strategy.request.count("{segment}") != 1:
        yield "its request must contain {segment} exactly once"
    for field in ("title", "description", "source", "instructions"):
        if not getattr(strategy, field).strip():
            yield f"its {field} is empty"
    limits = strategy.limits
    if min(limits.max_input_tokens, limits.max_output_tokens) < 1:
        yield "max_input_tokens and max_output_tokens must be positive"
    if strategy.wire_model is not None and strategy.to_text is None:
        yield "it has a wire_model, but no to_text that makes training text of it"
    if strategy.wire_model is not None and strategy.merge_structured is None:
        yield "it has a wire_model, but no merge_structured that joins the answers of several segments"
    if strategy.wire_model is None and (strategy.to_text or strategy.to_structured or strategy.merge_structured):
        yield "it has functions for structured answers, but no wire_model"
