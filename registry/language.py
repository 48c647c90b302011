"""Texts that people read, in Chinese and English, from catalogues.

A text is named `<package>.<topic>.<name>` and stands in `<package>/messages/<topic>.toml` as

    [name]
    en = "… {field} …"
    zh = "… {field} …"

Both languages are required; `tests/unit/registry/test_language.py` reads every catalogue and checks that both
languages name the same placeholders.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal

__all__ = ["LANGUAGES", "Language", "preferred", "text"]

Language = Literal["zh", "en"]

#: Chinese first: it is what an operator reads unless something else is asked for.
LANGUAGES: tuple[Language, ...] = ("zh", "en")


@cache
def _catalogue(package: str, topic: str) -> Mapping[str, Mapping[str, str]]:
    source = resources.files(package).joinpath("messages", f"{topic}.toml")
    return tomllib.loads(source.read_text(encoding="utf-8"))


def text(code: str, language: Language = "en", /, **params: object) -> str:
    """Return the text named `code` in `language`, its placeholders filled from `params`.

    Raises:
        KeyError: the code, or one of its placeholders, is unknown; a mistake of the programmer.
    """
    package, topic, name = code.split(".", 2)
    return _catalogue(package, topic)[name][language].format_map(params)


def preferred(accept_language: str | None) -> Language:
    """Choose the language for an HTTP `Accept-Language` header; Chinese when nothing decides."""
    best: tuple[float, Language] = (0.0, "zh")
    for part in (accept_language or "").split(","):
        tag, _, quality = part.strip().partition(";q=")
        primary = tag.split("-")[0].strip().lower()
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            continue
        for language in LANGUAGES:
            if primary == language and weight > best[0]:
                best = (weight, language)
    return best[1]
