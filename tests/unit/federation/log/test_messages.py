import re
import tomllib
from pathlib import Path

ROOM = Path(__file__).parents[4] / "federation"
SOURCES = "\n".join(path.read_text("utf-8") for path in (ROOM / "log").rglob("*.py"))
OUTSIDE = "\n".join(
    path.read_text("utf-8") for path in ROOM.rglob("*.py") if "log" not in path.relative_to(ROOM).parts[:1]
)
CATALOGUE = tomllib.loads((ROOM / "messages" / "log.toml").read_text("utf-8"))


def test_every_reason_has_its_text_and_every_text_its_reason():
    said = set(re.findall(r'"federation\.log\.(\w+)"', SOURCES)) | set(re.findall(r'"(fsck_\w+)"', SOURCES))
    assert said == set(CATALOGUE)
    assert set(re.findall(r'"federation\.log\.(\w+)"', OUTSIDE)) <= set(CATALOGUE) | {"storage"}
