"""The links of a record: which values are links, of what type, and the linkset that lists them (RFC 9264).

| value type | link type |
|---|---|
| `URL`, `URL.*`, other `*_URL` | `describedby` |
| `SDS_URL` | GS1 `safetyInfo` |
| `TRACE_URL`, `TRACEABILITY_URL` | GS1 `traceability` |
| `CERT_URL`, `CERTIFICATE_URL` | GS1 `certificationInfo` |
| `MANUAL_URL`, `INSTRUCTIONS_URL` | GS1 `instructions` |
| `DATA_URL` | GS1 `masterData` |

A word for a language in the type (`SDS_EN_URL`) says what language the target is in. Beside them stand this node's
own page (`alternate`) and the record as data (`masterData`). Only http and https addresses become links. There is
exactly one default link: the first URL, else the page; it is repeated under its descriptive type.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from registry.identifier import to_url_path
from registry.language import LANGUAGES, Language, text
from registry.record import Record
from registry.value import Value

__all__ = [
    "DEFAULT_LINK",
    "GS1",
    "LINKSET_TYPE",
    "Link",
    "default_of",
    "expanded",
    "links_of",
    "linkset",
    "safe_url",
]

GS1 = "https://ref.gs1.org/voc/"
DEFAULT_LINK = GS1 + "defaultLink"
LINKSET_TYPE = "application/linkset+json"

_GS1_WORDS = {
    "SDS": "safetyInfo",
    "TRACE": "traceability",
    "TRACEABILITY": "traceability",
    "CERT": "certificationInfo",
    "CERTIFICATE": "certificationInfo",
    "MANUAL": "instructions",
    "INSTRUCTIONS": "instructions",
    "DATA": "masterData",
}
_GS1_NAMES = frozenset(_GS1_WORDS.values()) | {"defaultLink"}
_LANGUAGE_WORDS = {language.upper(): language for language in LANGUAGES}
_MEDIA = {
    ".pdf": "application/pdf",
    ".html": "text/html",
    ".htm": "text/html",
    ".json": "application/json",
    ".xml": "application/xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}
_MAX_URL = 2048
#: What stays as it is in an address; everything else is escaped, an escape itself is not escaped again.
_URL_SAFE = "%/:?#[]@!$&'()*+,;=~-._"


@dataclass(frozen=True, slots=True)
class Link:
    """One link.

    Attributes:
        rel: registered relation or URI.
        title: by language.
        type: media type of the target, where it is known.
        hreflang: languages of the target.
        of: type of the value it comes from; empty for the node's own links.
    """

    rel: str
    href: str
    title: Mapping[Language, str]
    type: str | None = None
    hreflang: tuple[str, ...] = ()
    of: str = ""


def safe_url(given: str) -> str | None:
    """Return an http or https address fit for a header and an attribute, or None for anything else."""
    if len(given) > _MAX_URL or any(ord(character) <= ord(" ") for character in given):
        return None
    try:
        parts = urlsplit(given)
        host = parts.hostname
        if parts.scheme.lower() not in {"http", "https"} or not host or parts.username is not None:
            return None
        host.encode("ascii")
        _ = parts.port
    except ValueError:
        # Broken brackets or port, or a host that is not ASCII: the owner can write it in its ASCII form.
        return None
    return quote(given, safe=_URL_SAFE)


def expanded(link_type: str) -> str:
    """Return a link type in full: `gs1:safetyInfo` and `safetyInfo` stand for the GS1 address."""
    if link_type.startswith("gs1:"):
        return GS1 + link_type[4:]
    if link_type.startswith("https://gs1.org/voc/"):
        return GS1 + link_type.removeprefix("https://gs1.org/voc/")
    return GS1 + link_type if link_type in _GS1_NAMES else link_type


def links_of(record: Record, *, base_url: str) -> tuple[Link, ...]:
    """Return the links of a record: its own, in the order of their indexes, then this node's page and data."""
    own = [link for value in record.values if (link := _of_value(value)) is not None]
    path = to_url_path(record.identifier.text)
    return (
        *own,
        Link(
            rel="alternate",
            href=f"{base_url}/id/{path}?view=page",
            title=_titles("page"),
            type="text/html",
            hreflang=LANGUAGES,
        ),
        Link(
            rel=GS1 + "masterData",
            href=f"{base_url}/api/handles/{path}",
            title=_titles("data"),
            type="application/json",
        ),
    )


def default_of(links: Iterable[Link]) -> Link:
    """Return the default link: the first URL value, else the node's own page."""
    found = list(links)
    urls = (link for link in found if link.of == "URL" or link.of.startswith("URL."))
    return next(urls, None) or next(link for link in found if link.rel == "alternate")


def linkset(
    anchor: str,
    links: Sequence[Link],
    *,
    language: Language,
    successors: Sequence[str] = (),
    description: str = "",
) -> dict[str, Any]:
    """Return the linkset document of one anchor; successors come first and become the default."""
    context: dict[str, Any] = {"anchor": anchor}
    if description:
        context["itemDescription"] = description
    default = default_of(links)
    heading = {"href": default.href, "title": default.title[language]}
    if successors:
        heading = {"href": successors[0], "title": text("resolver.scan.link_successor", language)}
        context["successor-version"] = [
            {"href": href, "title": text("resolver.scan.link_successor", language)} for href in successors
        ]
    context[DEFAULT_LINK] = [heading]
    for link in links:
        context.setdefault(link.rel, []).append(_target(link, language))
    return {"linkset": [context]}


def _target(link: Link, language: Language) -> dict[str, Any]:
    target: dict[str, Any] = {"href": link.href, "title": link.title[language]}
    if link.type:
        target["type"] = link.type
    if link.hreflang:
        target["hreflang"] = list(link.hreflang)
    return target


def _of_value(value: Value) -> Link | None:
    kind = value.type.upper()
    words = kind.split("_")
    if kind != "URL" and not kind.startswith("URL.") and words[-1] != "URL":
        return None
    href = safe_url(value.text or "")
    if href is None:
        return None
    languages = tuple(_LANGUAGE_WORDS[word] for word in words[:-1] if word in _LANGUAGE_WORDS)
    name = next((_GS1_WORDS[word] for word in words[:-1] if word in _GS1_WORDS), None)
    return Link(
        rel=GS1 + name if name else "describedby",
        href=href,
        title=_titles(f"gs1_{name}" if name else "described"),
        type=_media(href),
        hreflang=languages,
        of=kind,
    )


def _media(href: str) -> str | None:
    path = urlsplit(href).path.lower()
    return next((media for ending, media in _MEDIA.items() if path.endswith(ending)), None)


def _titles(name: str) -> dict[Language, str]:
    return {language: text(f"resolver.scan.link_{name}", language) for language in LANGUAGES}
