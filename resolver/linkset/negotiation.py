"""What a caller of `/id` wants, from its headers and parameters. No I/O.

Rules (the project's facts on identifiers, §6; the choice for browsers is this project's own):

- who accepts HTML is a browser and gets the page, whatever link it asks for: a label must not jump to a foreign site;
- `linkType=linkset` or `all`, or accepting the linkset's media type, gets the links themselves;
- anybody else is redirected, to the link asked for or to the default link.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from resolver.links import LINKSET_TYPE, Link

__all__ = ["Form", "Wish", "accepted", "nearest", "wish"]

_HTML = ("text/html", "application/xhtml+xml")
_LINKSET_WORDS = frozenset({"linkset", "all"})
_MAX_PARTS = 32
_Item = TypeVar("_Item")


class Form(Enum):
    """What is answered."""

    PAGE = "page"
    LINKSET = "linkset"
    REDIRECT = "redirect"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the caller wants: the form, for a redirect the link type, and the media type of a linkset."""

    form: Form
    link_type: str | None = None
    media_type: str = LINKSET_TYPE


def accepted(header: str | None) -> dict[str, float]:
    """Return media ranges or language tags with their weights, lower-case; unreadable parts are skipped."""
    found: dict[str, float] = {}
    for part in (header or "").split(",")[:_MAX_PARTS]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = min(1.0, max(0.0, float(parameter[2:])))
                except ValueError:
                    weight = 0.0
        if name:
            found[name] = max(found.get(name, 0.0), weight)
    return found


def wish(*, accept: str | None, link_type: str | None, view: str | None) -> Wish:
    """Say what the caller wants."""
    media = accepted(accept)
    html = max(media.get(name, 0.0) for name in _HTML)
    if link_type in _LINKSET_WORDS:
        return Wish(Form.LINKSET)
    if view == "page":
        return Wish(Form.PAGE)
    linkset = media.get(LINKSET_TYPE, 0.0)
    plain = media.get("application/json", 0.0)
    if html > 0 and html >= max(linkset, plain):
        return Wish(Form.PAGE)
    if link_type:
        return Wish(Form.REDIRECT, link_type)
    if linkset > 0 or plain > 0:
        return Wish(Form.LINKSET, media_type=LINKSET_TYPE if linkset >= plain else "application/json")
    return Wish(Form.REDIRECT)


def nearest(links: Sequence[Link], *, accept: str | None, accept_language: str | None) -> tuple[Link, ...]:
    """Return the links that fit best: first by language, then by media type. More than one is a tie."""
    by_language = _best(links, accepted(accept_language), _language_weight)
    by_media = _best(by_language, accepted(accept), _media_weight)
    return tuple({link.href: link for link in by_media}.values())


def _best(
    items: Sequence[_Item], wanted: dict[str, float], weigh: Callable[[_Item, dict[str, float]], float]
) -> list[_Item]:
    if not wanted:
        return list(items)
    weights = [weigh(item, wanted) for item in items]
    most = max(weights, default=0.0)
    return [item for item, weight in zip(items, weights, strict=True) if weight == most]


def _language_weight(link: Link, wanted: dict[str, float]) -> float:
    """A link that names no language suits every reader, but less than one in the reader's own."""
    rest = wanted.get("*", 0.0)
    if not link.hreflang:
        return rest / 2
    named = [
        weight
        for tag, weight in wanted.items()
        if tag.split("-")[0] in {own.split("-")[0].lower() for own in link.hreflang}
    ]
    return max(named, default=rest)


def _media_weight(link: Link, wanted: dict[str, float]) -> float:
    if link.type is None:
        return wanted.get("*/*", 0.0) / 2
    group = link.type.partition("/")[0] + "/*"
    return wanted.get(link.type, wanted.get(group, wanted.get("*/*", 0.0)))
