"""The house stands as it is drawn: packages from this checkout, exact wheel contents, honest exports."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("proto", "registry", "resolver", "federation", "adapters", "node")
MODULES = sorted(
    path for package in PACKAGES for path in (ROOT / package).rglob("*.py")
    if "_pb2" not in path.name and "migrations" not in path.parts
)  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_comes_from_this_checkout(package):
    # `adapters`, `federation` and `proto` also exist as other people's distributions
    assert Path(importlib.import_module(package).__file__).parent == ROOT / package


def test_the_wheel_holds_the_six_packages_and_nothing_else(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert any(name.endswith("messages/identifier.toml") for name in names), "catalogues are packed"


def _exports(tree):
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "__all__" for t in node.targets):
            return ast.literal_eval(node.value)
    return None


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_each_export_list_is_sorted_and_true(path):
    tree = ast.parse(path.read_text("utf-8"))
    names = _exports(tree)
    if names is None:
        assert path.name in {"__init__.py", "__main__.py"}, "a module says what it exports in __all__"
        return
    assert len(names) == len(set(names))
    defined = {
        name
        for node in ast.walk(tree)
        for name in (
            [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            else [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign)
            else [node.target.id] if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
            else [a.asname or a.name for a in node.names] if isinstance(node, ast.ImportFrom | ast.Import)
            else []
        )
    }  # fmt: skip
    assert set(names) <= defined


def test_the_picture_in_the_readme_shows_the_layers_of_the_contract():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (layers,) = (c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    for readme in ("README.md", "README.zh-CN.md"):
        drawn = [
            match
            for line in (ROOT / readme).read_text("utf-8").splitlines()
            if (match := re.match(r"│ ([a-z]+(?: \| [a-z]+)?) +│", line))
        ]
        assert [match[1].strip() for match in drawn] == layers, readme
