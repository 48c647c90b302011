"""What the scan page says, before it is HTML: chosen and ordered for somebody who stands beside the thing. No I/O.

Order: what is wrong with the answer, the name, whom to call, hazards, first aid, spill and fire, how much there is,
then everything else that may be seen. What an object does not say about its own dangers is taken from the batch or
substance it points to, and marked as such.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from registry.identifier import to_url_path
from registry.language import LANGUAGES, Language, text
from registry.record import Record, Status
from registry.template import TEMPLATE_TYPE, TEMPLATE_VERSION_TYPE, TemplateCatalogue
from registry.trust import statement
from registry.value import Value
from resolver.answer import Answer, Source
from resolver.links import safe_url

__all__ = ["Banner", "Fact", "Page", "Vouching", "both", "missing_page", "page_of", "references_of"]

#: Fields that matter first, in the order in which they matter.
_EMERGENCY = ("HAZARDS", "UN_NO", "GHS_PICTOGRAMS", "FIRST_AID", "SPILL_RESPONSE", "FIRE_FIGHTING")
_AMOUNT = ("QUANTITY", "CONTENT", "LOAD", "CAPACITY")
_NAMES: Mapping[Language, tuple[str, ...]] = {
    "zh": ("NAME_ZH", "TITLE", "NAME", "NAME_EN"),
    "en": ("NAME_EN", "TITLE", "NAME", "NAME_ZH"),
}
#: Fields that point to what is inside.
_POINTERS = ("BATCH", "SUBSTANCE", "MEDIUM", "GAS")
_SILENT = frozenset({TEMPLATE_TYPE, TEMPLATE_VERSION_TYPE, "HZ_TOMBSTONE"})
#: An amount of a monitoring point is the name of what it measures.
_NOT_AN_AMOUNT = frozenset({"point"})
_PHONE = re.compile(r"\+?[0-9][0-9 ()-]{1,24}")
_MAIL = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+")
_OBJECT = re.compile(r"(?:0\.NA/)?[0-9]+(?:\.[0-9]+)+/\S.*|0\.NA/[0-9]+(?:\.[0-9]+)*")
_PLANT_TIME = timezone(timedelta(hours=8))
_UNITS = (("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1))

#: A text in both languages, the reader's first.
Both = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what it is called, what it says, where it leads, and whose it is when not the object's own."""

    label: Both
    content: str
    href: str | None = None
    source: str | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Banner:
    """What is wrong with this answer: `gone` or `stale`, what to know, and details."""

    tone: str
    title: Both
    lines: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Vouching:
    """Who signed, who vouches for the signer, how fresh the answer is."""

    freshness: Both
    lines: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """Everything on the page."""

    language: Language
    identifier: str
    title: str
    kind: Both
    banners: tuple[Banner, ...] = ()
    calls: tuple[Fact, ...] = ()
    emergency: tuple[Fact, ...] = ()
    amounts: tuple[Fact, ...] = ()
    facts: tuple[Fact, ...] = ()
    vouching: Vouching | None = None
    message: Both | None = None


def both(code: str, language: Language, /, **params: object) -> Both:
    """Return a text of the scan catalogue in both languages, the reader's first."""
    first, second = sorted(LANGUAGES, key=lambda tag: tag != language)
    return text(f"resolver.scan.{code}", first, **params), text(f"resolver.scan.{code}", second, **params)


def references_of(record: Record) -> tuple[str, ...]:
    """Return the identifiers of what is inside, when the record leaves a danger unsaid; nearest first."""
    said = {value.type.upper() for value in record.values}
    if {"HAZARDS", "FIRST_AID"} <= said:
        return ()
    found = [_first(record.values, name) for name in _POINTERS]
    return tuple(target for target in found if target is not None)


def page_of(
    answer: Answer,
    record: Record,
    *,
    language: Language,
    base_url: str,
    templates: TemplateCatalogue,
    inside: Sequence[Record] = (),
) -> Page:
    """Return the page of a record that was found, withdrawn or deleted."""
    maker = _Maker(language, base_url, templates)
    own = [value for value in record.values if _is_shown(value)]
    names = _NAMES[language]
    shown_elsewhere = {*_EMERGENCY, *_AMOUNT, names[0], "EMERGENCY_PHONE"}
    if record.kind in _NOT_AN_AMOUNT:
        shown_elsewhere -= set(_AMOUNT)
    title = next((found for name in names if (found := _first(own, name))), None)
    return Page(
        language=language,
        identifier=record.identifier.text,
        title=title or record.identifier.suffix,
        kind=maker.kind(record.kind),
        banners=maker.banners(answer, record),
        calls=tuple(maker.borrowed(record, inside, ("EMERGENCY_PHONE",))),
        emergency=tuple(maker.borrowed(record, inside, _EMERGENCY)),
        amounts=()
        if record.kind in _NOT_AN_AMOUNT
        else tuple(maker.fact(record.kind, value) for name in _AMOUNT for value in _all(own, name)),
        facts=tuple(
            maker.fact(record.kind, value)
            for value in own
            if value.type.upper() not in shown_elsewhere and value.text != title
        ),
        vouching=maker.vouching(answer, record),
    )


def missing_page(identifier: str, message: Both, *, language: Language) -> Page:
    """Return the page that says why there is nothing to show."""
    return Page(
        language=language,
        identifier=identifier,
        title=both("nothing", language)[0],
        kind=both("kind_unknown", language),
        message=message,
    )


class _Maker:
    """Makes the parts of one page."""

    def __init__(self, language: Language, base_url: str, templates: TemplateCatalogue) -> None:
        self._language = language
        self._base = base_url
        self._templates = templates

    def kind(self, kind: str) -> Both:
        template = self._templates.newest(kind)
        return self._pair(template.title, kind) if template else both("kind_generic", self._language)

    def fact(self, kind: str, value: Value, source: str | None = None) -> Fact:
        content = value.text or ""
        template = self._templates.newest(kind)
        field = template.fields.get(value.type) if template else None
        label = self._pair(field.title, value.type) if field else (value.type, "")
        return Fact(label, content, self._href(value.type.upper(), content), source, value.type.upper())

    def borrowed(self, record: Record, inside: Sequence[Record], names: Iterable[str]) -> Iterable[Fact]:
        """Yield each field from the record, or else from the first record inside that has it."""
        for name in names:
            for holder in (record, *inside):
                found = _all([value for value in holder.values if _is_shown(value)], name)
                if found:
                    source = None if holder is record else holder.identifier.text
                    yield from (self.fact(holder.kind, value, source) for value in found)
                    break

    def banners(self, answer: Answer, record: Record) -> tuple[Banner, ...]:
        made: list[Banner] = []
        tombstone = record.tombstone
        if record.status is not Status.ACTIVE:
            name = "withdrawn" if record.status is Status.WITHDRAWN else "deleted"
            lines: list[Fact] = []
            if tombstone is not None:
                lines = [
                    Fact(both("reason", self._language), tombstone.reason),
                    *(
                        Fact(both("replaced_by", self._language), other, self._object(other))
                        for other in tombstone.replaced_by
                    ),
                ]
            made.append(Banner("gone", both(name, self._language), tuple(lines)))
        if answer.source is Source.STALE:
            made.append(Banner("stale", self._aged("stale", answer.age)))
        return tuple(made)

    def vouching(self, answer: Answer, record: Record) -> Vouching:
        word = {Source.AUTHORITATIVE: "fresh", Source.CACHED: "cached", Source.STALE: "stale_short"}
        lines = [
            Fact(both("version", self._language), str(record.version)),
            Fact(both("modified", self._language), _moment(record.modified)),
        ]
        tombstone = record.tombstone
        if tombstone is not None:
            lines += [
                Fact(both("taken_back", self._language), _moment(tombstone.at)),
                Fact(both("by", self._language), tombstone.by),
            ]
        proof = answer.proof
        if proof is None:
            lines.insert(0, Fact(both("signed_by", self._language), both("unsigned", self._language)[0]))
        else:
            lines.insert(0, Fact(both("signed_by", self._language), proof.issuer.key))
            subjects = [statement.read(token).subject.key for token in reversed(proof.chain)]
            if subjects:
                lines.insert(1, Fact(both("chain", self._language), " → ".join(subjects)))
        return Vouching(self._aged(word[answer.source], answer.age), tuple(lines))

    def _aged(self, code: str, age: int) -> Both:
        first, second = sorted(LANGUAGES, key=lambda tag: tag != self._language)
        return (
            text(f"resolver.scan.{code}", first, age=_span(age, first)),
            text(f"resolver.scan.{code}", second, age=_span(age, second)),
        )

    def _pair(self, titles: Mapping[str, str], fallback: str) -> Both:
        first, second = sorted(LANGUAGES, key=lambda tag: tag != self._language)
        return titles.get(first, fallback), titles.get(second, "")

    def _href(self, kind: str, content: str) -> str | None:
        if kind.endswith("PHONE") and _PHONE.fullmatch(content):
            return "tel:" + re.sub(r"[^0-9+]", "", content)
        if kind.endswith("EMAIL") and _MAIL.fullmatch(content):
            return "mailto:" + content
        if content.lower().startswith(("http://", "https://")):
            return safe_url(content)
        return self._object(content)

    def _object(self, content: str) -> str | None:
        return f"{self._base}/id/{to_url_path(content)}" if _OBJECT.fullmatch(content) else None


def _is_shown(value: Value) -> bool:
    kind = value.type.upper()
    return kind not in _SILENT and not kind.startswith("HS_") and value.text is not None


def _all(values: Iterable[Value], name: str) -> list[Value]:
    return [value for value in values if value.type.upper() == name]


def _first(values: Iterable[Value], name: str) -> str | None:
    return next((value.text for value in values if value.type.upper() == name), None)


def _moment(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone(_PLANT_TIME).strftime("%Y-%m-%d %H:%M UTC+8")


def _span(seconds: int, language: Language) -> str:
    name, size = next(((n, s) for n, s in _UNITS if seconds >= s), _UNITS[-1])
    return text(f"resolver.scan.{name}", language, count=seconds // size)
