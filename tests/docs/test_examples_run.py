"""The Python examples of the developers' guide run as they stand and print what the page says they print."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.demo import demo  # noqa: F401 — a fixture
from tests.support.processes import PATIENCE, environment, until

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = EXAMPLE.findall((ROOT / "docs" / "guide-developer.md").read_text("utf-8"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(demo, tmp_path_factory):  # noqa: F811 — the fixture
    """A folder with `demo.json`, once the demonstration has told its story and its nodes are left in peace."""
    until(lambda: "Ctrl-C" in demo.output.read_text("utf-8"), "the story is told", patience=300.0)
    made = tmp_path_factory.mktemp("examples")
    (made / "demo.json").write_bytes(demo.json_file.read_bytes())
    return made


def test_the_guide_has_examples_with_their_output():
    text = (ROOT / "docs" / "guide-developer.md").read_text("utf-8")
    assert len(EXAMPLES) == text.count("```python") >= 5


@pytest.mark.parametrize(("code", "printed"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_each_example_prints_what_the_guide_shows(folder, code, printed):
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code],
        cwd=folder,
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == printed
