import re
import tomllib
from pathlib import Path

FEDERATION = Path(__file__).parents[4] / "federation"
MODULES = (
    "envelope",
    "members",
    "receipt",
    "head",
    "epoch",
    "body",
    "checks",
    "decisions",
    "lane",
    "understanding",
)
SOURCES = "\n".join((FEDERATION / "exchange" / f"{name}.py").read_text("utf-8") for name in MODULES)
CATALOGUE = tomllib.loads((FEDERATION / "messages" / "exchange.toml").read_text("utf-8"))
#: Codes that are put together from the member a receipt differs in.
COMPOSED = {"other_env", "other_stream", "other_seq", "other_aud", "other_iss"}


def test_every_reason_has_its_text_and_every_text_its_reason():
    said = set(re.findall(r'"federation\.exchange\.(\w+)"', SOURCES)) | COMPOSED
    assert said == set(CATALOGUE)
