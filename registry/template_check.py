"""A draft's content against its template: the schema first, then what a schema cannot say."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

from jsonschema_rs import ValidationError

from registry.errors import HazlinkError, InvalidValueError
from registry.identifier import Identifier
from registry.template_formats import resident_number_in
from registry.template_schema import Content, Template
from registry.units import Quantity, canonical_unit, parse_quantity

__all__ = ["Origins", "check_content"]

#: Where each type came from: the path that errors name.
Origins = dict[str, str]

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SAFE_SUFFIX = re.compile(r"[A-Za-z0-9._/-]+")
_MOBILE = re.compile(r"(?<!\d)1[3-9]\d{9}(?!\d)")
_SHOWN_LENGTH = 60
#: Shorter values are no secrets: a name's single character may well stand in an identifier by chance.
_TELLING_LENGTH = 2


def check_content(template: Template, content: Content, origins: Origins, identifier: Identifier) -> None:
    """Check the content.

    Raises:
        InvalidValueError: the first fault, in the template's order of fields.
    """
    if not template.is_valid(content):
        raise _first_fault(template, content, origins)
    for name, text in content.items():
        for one in text if isinstance(text, list) else (text,):
            if not one.isprintable() and _CONTROL.search(one):
                raise InvalidValueError("registry.template.control", field=origins[name])
    for field in template.unit_fields:
        _check_unit(content, origins, field.type, str(field.unit_of))
    for chain in template.ascending:
        _check_chain(content, origins, chain, strict=True)
    for chain in template.not_descending:
        _check_chain(content, origins, chain, strict=False)
    _check_identifier(template, content, identifier)


def _first_fault(template: Template, content: Content, origins: Origins) -> HazlinkError:
    order = {name: position for position, name in enumerate(template.fields)}

    def place(fault: ValidationError) -> tuple[int, int]:
        name = _field_of(fault)
        return order.get(name, -1), len(fault.instance_path)

    fault = min(template.faults(content), key=place)
    name = _field_of(fault)
    path = origins.get(name, f"fields.{name}")
    return _told(template, fault, name, path)


def _field_of(fault: ValidationError) -> str:
    if fault.kind.name == "required":
        return str(fault.kind.as_dict()["property"])
    return str(fault.instance_path[0]) if fault.instance_path else ""


def _told(template: Template, fault: ValidationError, name: str, path: str) -> HazlinkError:
    rule = fault.kind.name
    about: Mapping[str, Any] = fault.kind.as_dict()
    instance: Any = fault.instance
    example = template.fields[name].example
    if rule == "format":
        check = template.check_of(about["format"])
        wrong = check(instance) if check else None
        if wrong is not None:
            return _invalid(wrong.name, path, value=_shown(instance), **wrong.params)
    suffix = "" if example else "_plain"
    told: dict[str, tuple[str, dict[str, Any]]] = {
        "required": ("required" + suffix, {"kind": template.kind, "example": example}),
        "enum": ("choice", {"allowed": ", ".join(map(str, about.get("options", ())))}),
        "maxLength": ("long", {"length": len(str(instance)), "limit": about.get("limit")}),
        "minLength": ("empty", {}),
        "uniqueItems": ("twice", {}),
    }
    code, params = told.get(rule, ("form" + suffix, {"example": example}))
    return _invalid(code, path, value=_shown(instance), **params)


def _shown(instance: Any) -> str:
    text = str(instance)
    return text if len(text) <= _SHOWN_LENGTH else text[:_SHOWN_LENGTH] + "…"


def _invalid(name: str, path: str, **params: Any) -> InvalidValueError:
    return InvalidValueError(f"registry.template.{name}", field=path, **params)


def _check_unit(content: Content, origins: Origins, name: str, unit_field: str) -> None:
    text, unit = content.get(name), content.get(unit_field)
    if not isinstance(text, str) or not isinstance(unit, str):
        return
    parsed, right = parse_quantity(text), canonical_unit(unit)
    if isinstance(parsed, Quantity) and parsed.unit != right:
        raise _invalid("unit_differs", origins[name], value=text, unit=unit, other=unit_field)


def _check_chain(content: Content, origins: Origins, chain: list[str], *, strict: bool) -> None:
    there = [(name, _comparable(content[name])) for name in chain if name in content]
    for (lower, low), (upper, high) in pairwise(there):
        if low > high or (strict and low == high):
            raise _invalid(
                "order" if strict else "order_equal",
                origins[upper],
                value=content[upper],
                lower=lower,
                low=content[lower],
            )


def _comparable(text: str | list[str]) -> Any:
    one = text if isinstance(text, str) else text[0]
    parsed = parse_quantity(one)
    if isinstance(parsed, Quantity):
        return parsed.number
    return Decimal(date.fromisoformat(one).toordinal())


def _check_identifier(template: Template, content: Content, identifier: Identifier) -> None:
    if template.guards_identifier:
        suffix = identifier.suffix
        if not _SAFE_SUFFIX.fullmatch(suffix) or _MOBILE.search(suffix) or resident_number_in(suffix):
            raise _invalid("identifier_personal", "identifier", value=identifier.text, kind=template.kind)
    for field in template.identifying_fields:
        secret = content.get(field.type)
        if isinstance(secret, str) and len(secret) >= _TELLING_LENGTH and _holds(identifier, secret):
            raise _invalid("identifier_tells", "identifier", type=field.type, kind=template.kind)


def _holds(identifier: Identifier, secret: str) -> bool:
    return secret.upper() in identifier.suffix.upper()
