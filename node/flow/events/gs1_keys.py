"""GS1 keys in the one spelling of the event hash: the canonical `https://id.gs1.org/` link.

Source: GS1 EPC Tag Data Standard 2.0 (the URNs), GS1 Digital Link 1.2 (the links), CBV 2.0 section 8.9 (the finest
level only, no query). What is no well-formed key stays as it is. Links that hold escaped characters stay too, as in
the public reference.
"""

import re
from collections.abc import Callable

__all__ = ["canonical", "check_digit", "has_key"]

_HOME = "https://id.gs1.org"
#: Short names of keys and qualifiers in links → application identifier.
_SHORT = {
    "gtin": "01",
    "itip": "8006",
    "cpid": "8010",
    "gln": "414",
    "party": "417",
    "gsrnp": "8017",
    "gsrn": "8018",
    "gcn": "255",
    "sscc": "00",
    "gdti": "253",
    "ginc": "401",
    "gsin": "402",
    "grai": "8003",
    "giai": "8004",
    "cpv": "22",
    "lot": "10",
    "ser": "21",
}
_ANY = r"[\x22\x27\-.0-9;-?A-Z_a-z]"
_SERIAL = {"21": rf"{_ANY}{{0,20}}", "10": rf"{_ANY}{{0,20}}"}
#: key → its form, and the qualifiers that may follow it.
_LINKS: dict[str, tuple[str, dict[str, str]]] = {
    "00": (r"\d{18}", {}),
    "01": (r"\d{14}", _SERIAL | {"235": rf"{_ANY}{{0,28}}"}),
    "253": (rf"\d{{13}}{_ANY}{{0,17}}", {}),
    "255": (r"\d{13,25}", {}),
    "401": (rf"{_ANY}{{0,30}}", {}),
    "402": (r"\d{17}", {}),
    "414": (r"\d{13}", {"254": rf"{_ANY}{{0,20}}"}),
    "417": (r"\d{13}", {}),
    "8003": (rf"\d{{14}}{_ANY}{{0,16}}", {}),
    "8004": (rf"{_ANY}{{0,30}}", {}),
    "8006": (r"\d{18}", _SERIAL),
    "8010": (r"[#\-0-9A-Z]{0,30}", {"8011": r"\d{0,12}"}),
    "8017": (r"\d{18}", {}),
    "8018": (r"\d{18}", {}),
}
_KEY_NAMES = [*_LINKS, *(name for name, key in _SHORT.items() if key in _LINKS)]
_KEY_SEGMENT = re.compile(rf"/(?:{'|'.join(_KEY_NAMES)})/")
_LINK = re.compile(rf"https?://[^/?#]*\.[^/?#]*(?:/[^?#]*)?/(?:{'|'.join(_KEY_NAMES)})/\d{{4}}[^/]")
#: How the value of a key begins; a name of a key before anything else is part of the path.
_VALUE = re.compile(r"\d{4}.")
_WEB_ESCAPES = {ord(mark): f"%{ord(mark):02X}" for mark in "!()*+,:"}
#: Character set 82 of the GS1 General Specifications: as they are, or escaped.
_SET_82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
_PLAIN_82 = r"[!'()*+,.0-9:;=A-Za-z_-]"
_ESCAPED_82 = "|".join(f"{ord(mark):02X}" for mark in _SET_82)
_TEXT_82 = re.compile(rf"(?:(?i:%(?:{_ESCAPED_82}))|{_PLAIN_82})+", re.ASCII)
_TEXT_39 = re.compile(r"(?:%2[3dfDF]|%3[0-9]|%4[1-9A-Fa-f]|%5[0-9Aa]|[0-9A-Z-])+", re.ASCII)
_GTIN_DIGITS = 13
_GLN_DIGITS = 12
_GTIN_SHORT = (8, 12, 13)
_PREFIX_DIGITS = range(6, 13)


def has_key(path: str) -> bool:
    """Whether a path holds a segment that GS1 software takes for the name of a key (`/01/`, `/gtin/`)."""
    return _KEY_SEGMENT.search(path) is not None


def canonical(text: str) -> str:
    """Return the canonical link of a GS1 key given as URN or link; every other text as it is."""
    if text.startswith("urn:epc:"):
        return _from_urn(text) or text
    if text.startswith("http") and _LINK.match(text):
        return _from_link(text) or text
    return text


def check_digit(digits: str) -> str:
    """Return the GS1 check digit of a key without it."""
    total = sum(int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(digits)))
    return str(-total % 10)


def _from_link(link: str) -> str | None:
    segments = link.partition("?")[0].split("/")
    names = [_SHORT.get(segment, segment) for segment in segments]
    start = next(
        at
        for at in range(3, len(names) - 1)
        if names[at] in _LINKS and _VALUE.match(segments[at + 1]) is not None
    )
    key, value = names[start], segments[start + 1]
    if key == "01" and len(value) in _GTIN_SHORT:
        value = value.zfill(14)
    form, qualifiers = _LINKS[key]
    rest = list(zip(names[start + 2 :: 2], segments[start + 3 :: 2], strict=False))
    if len(names) % 2 != start % 2 or re.fullmatch(form, value, re.ASCII) is None:
        return None
    if key in {"01", "8006"}:
        rest = [pair for pair in rest if pair[0] != "22"]
        if [name for name, _ in rest] == ["10", "21"]:
            del rest[0]
    if not rest:
        return f"{_HOME}/{key}/{value}"
    name, text = rest[0]
    if len(rest) > 1 or name not in qualifiers or re.fullmatch(qualifiers[name], text, re.ASCII) is None:
        return None
    return f"{_HOME}/{key}/{value}/{name}/{text}"


def _from_urn(urn: str) -> str | None:
    kind, _, rest = urn[len("urn:epc:") :].partition(":")
    scheme, _, rest = rest.partition(":")
    make = _URNS.get((kind, scheme))
    prefix, dot, rest = rest.partition(".")
    if make is None or not dot or not _digits(prefix) or len(prefix) not in _PREFIX_DIGITS:
        return None
    made = make(prefix, rest)
    return f"{_HOME}{made}" if made else None


def _digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _whole(text: str, longest: int) -> str | None:
    """Return a serial as a link spells it, or None: foreign characters, empty, longer than `longest`."""
    if _TEXT_82.fullmatch(text) is None or len(text) - 2 * text.count("%") > longest:
        return None
    return text.translate(_WEB_ESCAPES)


def _gtin(prefix: str, item: str) -> str | None:
    if not _digits(item) or len(prefix) + len(item) != _GTIN_DIGITS:
        return None
    raw = item[0] + prefix + item[1:]
    return raw + check_digit(raw)


def _thirteen(prefix: str, reference: str, lead: str = "") -> str | None:
    if (reference and not _digits(reference)) or len(prefix) + len(reference) != _GLN_DIGITS:
        return None
    raw = lead + prefix + reference
    return raw + check_digit(raw)


def _serialised(key: str, qualifier: str, longest: int) -> Callable[[str, str], str | None]:
    """`prefix.item.serial` of a GTIN; `*` for any serial."""

    def make(prefix: str, rest: str) -> str | None:
        item, _, serial = rest.partition(".")
        gtin, text = _gtin(prefix, item), _whole(serial, longest)
        return f"/{key}/{gtin}/{qualifier}/{text}" if gtin and text else None

    return make


def _any_gtin(prefix: str, rest: str) -> str | None:
    item, _, serial = rest.partition(".")
    gtin = _gtin(prefix, item)
    return f"/01/{gtin}" if gtin and serial == "*" else None


def _sgln(prefix: str, rest: str) -> str | None:
    reference, _, extension = rest.partition(".")
    gln, text = _thirteen(prefix, reference), _whole(extension, 20)
    if not gln or not text:
        return None
    return f"/414/{gln}" if text == "0" else f"/414/{gln}/254/{text}"


def _asset(
    key: str, lead: str, longest: int, form: re.Pattern[str] | None = None
) -> Callable[[str, str], str | None]:
    """`prefix.type.serial` with the serial behind the check digit, without a qualifier."""

    def make(prefix: str, rest: str) -> str | None:
        reference, _, serial = rest.partition(".")
        number, text = _thirteen(prefix, reference, lead), _whole(serial, longest)
        if not number or not text or (form is not None and form.fullmatch(serial) is None):
            return None
        return f"/{key}/{number}{text}"

    return make


def _any_asset(key: str, lead: str) -> Callable[[str, str], str | None]:
    def make(prefix: str, rest: str) -> str | None:
        reference, _, serial = rest.partition(".")
        number = _thirteen(prefix, reference, lead)
        return f"/{key}/{number}" if number and serial == "*" else None

    return make


def _free(key: str) -> Callable[[str, str], str | None]:
    """`prefix.reference`, at most 30 characters together."""

    def make(prefix: str, rest: str) -> str | None:
        text = _whole(rest, 30 - len(prefix))
        return f"/{key}/{prefix}{text}" if text else None

    return make


def _checked(key: str, length: int, *, lead: bool = False) -> Callable[[str, str], str | None]:
    """`prefix.reference` of a fixed number of digits; with `lead`, the first digit goes to the front."""

    def make(prefix: str, rest: str) -> str | None:
        if not _digits(rest) or len(prefix) + len(rest) != length:
            return None
        raw = rest[0] + prefix + rest[1:] if lead else prefix + rest
        return f"/{key}/{raw}{check_digit(raw)}"

    return make


def _part(prefix: str, rest: str) -> str | None:
    reference, _, serial = rest.rpartition(".")
    fits = _TEXT_39.fullmatch(reference) and len(prefix) + len(reference) - 2 * reference.count("%") <= 30  # noqa: PLR2004 — GS1 CPID
    if not fits:
        return None
    if serial == "*":
        return f"/8010/{prefix}{reference}"
    return f"/8010/{prefix}{reference}/8011/{serial}" if _digits(serial) and len(serial) <= 12 else None  # noqa: PLR2004 — GS1 CPID serial


def _pieces(prefix: str, rest: str) -> str | None:
    fields = rest.split(".", 3)
    if len(fields) != 4 or not all(_digits(field) and len(field) == 2 for field in fields[1:3]):  # noqa: PLR2004 — item, piece, total, serial
        return None
    gtin = _gtin(prefix, fields[0])
    if not gtin:
        return None
    whole = f"/8006/{gtin}{fields[1]}{fields[2]}"
    return f"{whole}/21/{text}" if (text := _whole(fields[3], 20)) else None


def _any_pieces(prefix: str, rest: str) -> str | None:
    made = _pieces(prefix, rest[:-1] + "0") if rest.endswith(".*") else None
    return made.partition("/21/")[0] if made else None


def _party(prefix: str, rest: str) -> str | None:
    gln = _thirteen(prefix, rest)
    return f"/417/{gln}" if gln else None


#: A 12-digit prefix leaves no digits for the type: its place is empty.
_URNS: dict[tuple[str, str], Callable[[str, str], str | None]] = {
    ("id", "sgtin"): _serialised("01", "21", 20),
    ("id", "sscc"): _checked("00", 17, lead=True),
    ("id", "sgln"): _sgln,
    ("id", "grai"): _asset("8003", "0", 16),
    ("id", "giai"): _free("8004"),
    ("id", "gsrn"): _checked("8018", 17),
    ("id", "gsrnp"): _checked("8017", 17),
    ("id", "gdti"): _asset("253", "", 20),
    ("id", "cpi"): _part,
    ("id", "sgcn"): _asset("255", "", 12, re.compile(r"[0-9]+")),
    ("id", "ginc"): _free("401"),
    ("id", "gsin"): _checked("402", 16),
    ("id", "itip"): _pieces,
    ("id", "upui"): _serialised("01", "235", 28),
    ("id", "pgln"): _party,
    ("class", "lgtin"): _serialised("01", "10", 20),
    ("idpat", "sgtin"): _any_gtin,
    ("idpat", "grai"): _any_asset("8003", "0"),
    ("idpat", "gdti"): _any_asset("253", ""),
    ("idpat", "sgcn"): _any_asset("255", ""),
    ("idpat", "cpi"): _part,
    ("idpat", "itip"): _any_pieces,
    ("idpat", "upui"): _any_gtin,
}
