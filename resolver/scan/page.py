"""The scan page as HTML: one document, no script, no image, no request to anywhere else.

Everything that comes from a record is escaped; a link is written only when `resolver.scan.content` found it harmless
(http, https, tel, mailto). The style sheet stands inside, and the security policy allows exactly it by its hash.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from html import escape
from importlib import resources

from registry.language import Language, text
from resolver.scan.content import Banner, Both, Fact, Page, both

__all__ = ["HEADERS", "render"]

_STYLE = resources.files("resolver.scan").joinpath("style.css").read_text(encoding="utf-8")
_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

#: What goes with the page.
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

_TAGS: dict[Language, str] = {"zh": "zh-CN", "en": "en"}
_LOOKS = {"HAZARDS": "hazards", "UN_NO": "hazards", "GHS_PICTOGRAMS": "hazards", "FIRST_AID": "aid"}


def render(page: Page) -> bytes:
    """Return the page as UTF-8 HTML."""
    other: Language = "en" if page.language == "zh" else "zh"
    body = "".join(
        [
            *(_banner(banner) for banner in page.banners),
            "<header><p><span>",
            _two(page.kind),
            f'</span><a href="?view=page&amp;lang={other}" lang="{_TAGS[other]}">',
            escape(text("resolver.scan.other_language", page.language)),
            f"</a></p><h1>{escape(page.title)}</h1>",
            f'<p class="id">{escape(page.identifier)}</p></header>',
            _said(page.message),
            *_emergency(page),
            _list("amount", both("amount", page.language), page.amounts),
            _list("facts", both("details", page.language), page.facts),
            _vouching(page),
            _calls(page),
        ]
    )
    return (
        f'<!doctype html><html lang="{_TAGS[page.language]}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="robots" content="noindex">'
        f"<title>{escape(page.title)} · {escape(page.identifier)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>"
    ).encode()


def _two(words: Both) -> str:
    first, second = words
    return escape(first) + (f" <small>{escape(second)}</small>" if second and second != first else "")


def _linked(fact: Fact) -> str:
    content = escape(fact.content)
    return f'<a href="{escape(fact.href)}" rel="noopener nofollow">{content}</a>' if fact.href else content


def _rows(facts: Iterable[Fact]) -> str:
    return "".join(f"<div><dt>{_two(fact.label)}</dt><dd>{_linked(fact)}</dd></div>" for fact in facts)


def _banner(banner: Banner) -> str:
    first, second = banner.title
    lines = f"<dl>{_rows(banner.lines)}</dl>" if banner.lines else ""
    return (
        f'<section class="banner {banner.tone}" role="alert"><strong>{escape(first)}</strong>'
        f"<small>{escape(second)}</small>{lines}</section>"
    )


def _said(message: Both | None) -> str:
    if message is None:
        return ""
    return f"<section><p>{escape(message[0])}</p><p><small>{escape(message[1])}</small></p></section>"


def _emergency(page: Page) -> Iterable[str]:
    if page.message is None and not any(fact.kind == "HAZARDS" for fact in page.emergency):
        first, second = both("no_hazards", page.language)
        heading = _two(both("hazards", page.language))
        yield (
            f'<section class="other"><h2>{heading}</h2><p>{escape(first)}</p>'
            f"<p><small>{escape(second)}</small></p></section>"
        )
    for fact in page.emergency:
        look = _LOOKS.get(fact.kind, "other")
        source = ""
        if fact.source:
            taken = text("resolver.scan.taken_from", page.language, source=fact.source)
            source = f'<p class="source">{escape(taken)}</p>'
        yield f'<section class="{look}"><h2>{_two(fact.label)}</h2><p>{_linked(fact)}</p>{source}</section>'


def _list(name: str, heading: Both, facts: tuple[Fact, ...]) -> str:
    if not facts:
        return ""
    return f'<section class="{name}"><h2>{_two(heading)}</h2><dl>{_rows(facts)}</dl></section>'


def _vouching(page: Page) -> str:
    if page.vouching is None:
        return ""
    heading = _two(both("vouching", page.language))
    return (
        f'<section class="vouching"><h2>{heading}</h2><p>{_two(page.vouching.freshness)}</p>'
        f"<dl>{_rows(page.vouching.lines)}</dl></section>"
    )


def _calls(page: Page) -> str:
    if not page.calls:
        return ""
    word = escape(both("call", page.language)[0])
    entries = (
        f'<a href="{escape(fact.href)}">{word} {escape(fact.content)}</a>'
        if fact.href
        else f"<span>{word} {escape(fact.content)}</span>"
        for fact in page.calls
    )
    return f"<nav>{''.join(entries)}</nav>"
