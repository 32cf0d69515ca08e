import importlib
import itertools
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from synth_assets import strategies
from synth_assets.strategies import StrategyError, by_name, discover

GOOD = """
from synth_assets.core.strategy import Strategy, TokenLimits

STRATEGY = Strategy(
    name="{name}", title="Title", description="What it does.", source="Nobody.", instructions="Rewrite.",
    request="{request}", sampling_temperature=0.5, sampling_top_p=0.9, limits=TokenLimits(1, 1, 100, {output}, 1),
    {more}
)
"""

package_names = (f"strategies_for_test_{number}" for number in itertools.count())


class Package:
    """A package of strategies in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.write("__init__", "")

    def write(self, module: str, text: str) -> None:
        (self.folder / f"{module}.py").write_text(text)

    def write_good(self, module: str, name: str = "", request: str = "{segment}", output: int = 100, more: str = ""):
        self.write(module, GOOD.format(name=name or module, request=request, output=output, more=more))

    def load(self) -> ModuleType:
        return importlib.import_module(self.folder.name)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    monkeypatch.syspath_prepend(str(tmp_path))
    return Package(tmp_path / next(package_names))


def test_the_five_strategies_are_found_sorted_by_name():
    names = [strategy.name for strategy in discover()]

    assert {"distill", "diverse_qa", "knowledge_extract", "knowledge_list", "wiki_rephrase"} <= set(names)
    assert names == sorted(names)


def test_each_file_of_the_folder_is_one_strategy():
    files = {path.stem for path in Path(strategies.__file__).parent.glob("[!_]*.py")}

    assert {strategy.name for strategy in discover()} == files


def test_a_new_file_is_a_new_strategy(package):
    package.write_good("limerick")
    package.write_good("ballad")
    package.write("_helper", "raise RuntimeError('helpers are not imported')")

    assert [strategy.name for strategy in discover(package.load())] == ["ballad", "limerick"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no STRATEGY"),
        ("STRATEGY = 'wiki'", "STRATEGY that is a str"),
        ("import no_such_module", "no_such_module"),
        ("def broken(:", "cannot be imported"),
    ],
)
def test_a_file_that_is_no_strategy_is_named(package, text, message):
    package.write("limerick", text)

    with pytest.raises(StrategyError, match=message) as raised:
        discover(package.load())
    assert "limerick" in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "ballad"}, "must be that of the file, 'limerick'"),
        ({"request": "{title}"}, "{segment} exactly once"),
        ({"request": "{segment} {segment}"}, "{segment} exactly once"),
        ({"output": 0}, "max_output_tokens must be positive"),
        ({"more": "wire_model=Strategy"}, "no to_text"),
        ({"more": "wire_model=Strategy, to_text=str"}, "no merge_structured"),
        ({"more": "to_text=str"}, "no wire_model"),
    ],
)
def test_what_a_strategy_lacks_is_named_with_its_file(package, changes, message):
    package.write_good("limerick", **changes)

    with pytest.raises(StrategyError) as raised:
        discover(package.load())
    assert message in str(raised.value)
    assert "limerick.py" in str(raised.value)


@pytest.mark.parametrize(("module", "message"), [("original", "is taken"), ("Ballad", "no lower-case identifier")])
def test_a_name_that_no_table_can_have_is_refused(package, module, message):
    package.write_good(module)

    with pytest.raises(StrategyError, match=message):
        discover(package.load())


def test_a_strategy_is_found_by_its_name():
    assert by_name("distill").name == "distill"


def test_an_unknown_name_is_answered_with_the_names_there_are():
    with pytest.raises(StrategyError, match=r"no strategy 'limerick'.*distill.*wiki_rephrase"):
        by_name("limerick")


def test_finding_strategies_imports_no_heavy_library():
    program = (
        "import sys; from synth_assets.strategies import discover; discover();"
        "print([name for name in ('dagster', 'duckdb', 'torch', 'transformers', 'openai', 'pyarrow', 'pandas')"
        " if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
