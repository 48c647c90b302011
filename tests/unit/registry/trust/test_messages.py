import re
import tomllib
from pathlib import Path

REGISTRY = Path(__file__).parents[4] / "registry"
SOURCES = "\n".join(path.read_text("utf-8") for path in (REGISTRY / "trust").glob("*.py"))
CATALOGUE = tomllib.loads((REGISTRY / "messages" / "trust.toml").read_text("utf-8"))
#: Codes that are put together from a word: the state of a statement, a claim of a proof, what is wrong with a value.
COMPOSED = {"state_suspended", "state_revoked", "pop_aud", "pop_sub"}


def test_every_reason_has_its_text_and_every_text_its_reason():
    said = set(re.findall(r'"registry\.trust\.(\w+)"', SOURCES))
    said |= set(re.findall(r'_bad\("(\w+)"', SOURCES)) | COMPOSED
    assert said == set(CATALOGUE)
