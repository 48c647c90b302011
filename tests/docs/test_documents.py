"""Documents hold what they promise: links lead somewhere, examples parse, commands exist."""

import ast
import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
COMMAND = re.compile(r"^\$ (?:\.venv/bin/)?hazlink ([a-z-]+)(?: ([a-z-]+))?", re.MULTILINE)


def name(path):
    return str(path.relative_to(ROOT))


def blocks(language):
    return [
        pytest.param(body, id=f"{name(path)}:{number}")
        for path in DOCUMENTS
        for number, (found, body) in enumerate(FENCE.findall(path.read_text("utf-8")))
        if found == language
    ]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_relative_link_leads_somewhere(path):
    for target in LINK.findall(path.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{name(path)} links to {target}"


@pytest.mark.parametrize("body", blocks("toml"))
def test_every_toml_example_parses(body):
    assert tomllib.loads(body)


@pytest.mark.parametrize("body", blocks("json"))
def test_every_json_example_parses(body):
    assert json.loads(body)


@pytest.mark.parametrize("body", blocks("python"))
def test_every_python_example_is_python(body):
    assert ast.parse(body).body


def test_every_command_in_the_documents_exists():
    from typer.main import get_command

    from node.cli import app

    known = get_command(app)
    for path in DOCUMENTS:
        for first, second in COMMAND.findall(path.read_text("utf-8")):
            assert first in known.commands, f"{name(path)}: hazlink {first}"
            inner = getattr(known.commands[first], "commands", None)
            if inner is not None and second:
                assert second in inner, f"{name(path)}: hazlink {first} {second}"
