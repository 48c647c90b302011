import string
import tomllib
from pathlib import Path

import pytest

from registry.language import preferred, text

ROOT = Path(__file__).parents[3]
CATALOGUES = sorted(
    path for package in ("registry", "resolver", "federation", "adapters", "node")
    for path in (ROOT / package).glob("messages/*.toml")
)  # fmt: skip


def placeholders(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda p: f"{p.parts[-3]}.{p.stem}")
def test_every_text_stands_in_both_languages_with_the_same_placeholders(path):
    for name, languages in tomllib.loads(path.read_text("utf-8")).items():
        assert set(languages) == {"en", "zh"}, name
        assert placeholders(languages["en"]) == placeholders(languages["zh"]), name
        assert languages["zh"] != languages["en"], name


def test_a_text_is_found_by_its_name():
    assert text("registry.identifier.not_utf8", "zh") == "标识不是有效的 UTF-8 文本"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "zh"),
        ("", "zh"),
        ("en", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("fr, en;q=0.5", "en"),
        ("en;q=x", "zh"),
        ("fr", "zh"),
        ("zh;q=0.3, en;q=0.9", "en"),
    ],
)
def test_the_language_follows_the_header_and_is_chinese_otherwise(header, language):
    assert preferred(header) == language
