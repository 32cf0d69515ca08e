"""What the documents and the deployment files say is so: generated parts, names of commands, targets and tests."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from synth_assets.cli import main as synth

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
NOT_SETTINGS = {"VLLM_NO_USAGE_STATS", "VLLM_CPU_KVCACHE_SPACE", "SYNTH_GENERATOR_API_KEY"}
"""Set for a child process by the code itself, and read from no user's environment."""
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_of_the_readme_are_up_to_date():
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_check_notices_a_part_that_is_stale(generate, tmp_path, monkeypatch):
    copy = tmp_path / "README.md"
    fresh = README.read_text()
    copy.write_text(fresh.replace("| `VLLM_API_KEY` |", "| `VLLM_KEY` |"))
    monkeypatch.setattr(generate, "README", copy)
    assert generate.main(["--check"]) == 1
    assert copy.read_text() != fresh
    assert generate.main([]) == 0
    assert copy.read_text() == fresh


def test_every_part_that_is_generated_has_its_place_in_the_readme(generate):
    assert sorted(name for _, name, _ in generate.PART.findall(README.read_text())) == sorted(generate.PARTS)


def test_the_settings_table_names_every_variable_that_the_code_reads(generate):
    code = "".join(
        path.read_text() for folder in ("synth_assets", "resources") for path in (ROOT / folder).rglob("*.py")
    )
    read = set(
        re.findall(
            r'"((?:MAX|VLLM|JUDGE|LAKE|COST|SYNTH|PERPLEXITY|CURATOR|KEEP|SOURCE|EVALUATION|DECONTAMINATION)_[A-Z_]+)"',
            code,
        )
    )
    assert {name for name, *_ in generate.SETTINGS} == read - NOT_SETTINGS


@PAGE
def test_every_make_target_that_is_named_exists(page):
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(), re.MULTILINE)) <= targets


@PAGE
def test_every_synth_command_and_option_that_is_named_exists(page):
    for line in re.findall(r"(?:^|`|\$ |bin/)synth ([a-z].*)", page.read_text(), re.MULTILINE):
        usage = re.split(r"[`#]", line)[0].split()
        assert usage[0] in synth.commands, line
        known = {option for parameter in synth.commands[usage[0]].params for option in parameter.opts}
        assert {word for word in usage[1:] if word.startswith("-")} <= known, line


@PAGE
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_guarantee_names_a_test_that_exists():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs" / "guarantees.md").read_text())
    assert named
    for file, function in named:
        tree = ast.parse((ROOT / file).read_text())
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{function}"


def test_deployed_ports_are_bound_to_this_machine_and_no_secret_is_written_down():
    text = (ROOT / "deploy" / "docker-compose.yaml").read_text()
    compose = yaml.safe_load(text)
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    settings = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
    values = re.findall(r"(?:PASSWORD|KEY|password)[:=] ?(\S+)", settings)
    assert values
    assert all(value.startswith("${") for value in values)


def test_a_run_container_gets_variables_and_volumes_that_the_composition_has():
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.yaml").read_text())
    dagster = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    launcher = dagster["run_launcher"]["config"]
    assert set(launcher["env_vars"]) <= set(compose["x-synth"]["environment"])
    assert launcher["image"] == compose["x-synth"]["image"]
    assert launcher["network"] == compose["networks"]["synth"]["name"]
    mounted = {volume.split(":")[0] for volume in launcher["container_kwargs"]["volumes"]}
    assert mounted <= {volume["name"] for volume in compose["volumes"].values() if volume}
    assert dagster["storage"]["postgres"]["postgres_db"]["password"] == {"env": "POSTGRES_PASSWORD"}


def test_every_setting_reaches_the_containers(generate):
    compose = yaml.safe_load((ROOT / "deploy" / "docker-compose.yaml").read_text())
    dagster = yaml.safe_load((ROOT / "deploy" / "dagster.yaml").read_text())
    # The home is the image's; the embedded server does not run in it.
    settings = {name for name, *_ in generate.SETTINGS} - {"SYNTH_HOME", "SYNTH_VLLM_VENV"}
    assert settings <= set(dagster["run_launcher"]["config"]["env_vars"])
    assert settings <= set(compose["x-synth"]["environment"])
