"""Rows of the national catalogue of hazardous chemicals → substances.

A row is `{"no": 137, "name_zh": …, "qualifier_zh": …, "aliases_zh": […], "cas": […], "highly_toxic": …, "generic": …,
"notes": …}`. The operator supplies the edition in force; none comes with the product. Nothing is lost:

- a row without a CAS number is imported without one, and said so;
- a CAS number whose check digit does not fit is kept in NOTES as printed, not as CAS_NO, and said so;
- a row with several CAS numbers keeps them all; a number that an earlier row has as well is said so;
- an alias holding the separator `;`, or beyond what the template takes, goes to NOTES as printed.
"""

from collections.abc import Mapping
from typing import Any

from registry.errors import HazlinkError, InvalidValueError, MalformedError
from registry.identifier import Prefix
from registry.importing.rows import Mapped
from registry.record import Draft
from registry.template_formats import check_cas

__all__ = ["CatalogueRows"]

_SEPARATOR = ";"
_MOST_CAS = 8
_MOST_ALIASES = 30


class CatalogueRows:
    """The mapping for catalogue rows. One object serves one run: it remembers which row has which CAS number."""

    def __init__(self, prefix: Prefix, *, stem: str = "CATALOGUE-") -> None:
        self._prefix = prefix
        self._stem = stem
        self._row_of_cas: dict[str, int] = {}

    @property
    def key(self) -> str:
        """The name of the mapping with its options."""
        return f"catalogue {self._prefix}/{self._stem}"

    def draft(self, row: Mapping[str, Any]) -> Mapped:
        """Return the substance of a row, with remarks on its CAS numbers.

        Raises:
            MalformedError: a row without a number or name, or with members of the wrong sort.
        """
        number = row.get("no")
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise MalformedError("registry.importing.catalogue_no", field="no")
        name = row.get("name_zh")
        if not isinstance(name, str) or not name.strip():
            raise MalformedError("registry.importing.catalogue_name", field="name_zh", no=number)
        fields: dict[str, str] = {"NAME_ZH": name.strip(), "CATALOGUE_NO": str(number)}
        notes = [str(row["notes"])] if row.get("notes") else []
        if row.get("qualifier_zh"):
            fields["QUALIFIER"] = str(row["qualifier_zh"])
        if row.get("highly_toxic") is not None:
            fields["HIGHLY_TOXIC"] = "true" if row["highly_toxic"] else "false"
        if row.get("generic"):
            fields["GENERIC"] = "true"
        warnings = self._cas(number, _texts(row, "cas"), fields, notes)
        _aliases(_texts(row, "aliases_zh"), fields, notes)
        if notes:
            fields["NOTES"] = "; ".join(notes)
        identifier = f"{self._prefix}/{self._stem}{number:04d}"
        return Mapped(Draft(identifier=identifier, kind="substance", fields=fields), tuple(warnings))

    def _cas(
        self, number: int, given: list[str], fields: dict[str, str], notes: list[str]
    ) -> list[HazlinkError]:
        warnings: list[HazlinkError] = []
        if not given:
            warnings.append(InvalidValueError("registry.importing.cas_missing", field="cas", no=number))
        good: list[str] = []
        for cas in given:
            fault = check_cas(cas)
            if fault is not None or len(good) == _MOST_CAS:
                notes.append(f"CAS {cas}")
                warnings.append(
                    InvalidValueError("registry.importing.cas_defective", field="cas", no=number, value=cas)
                )
                continue
            if cas in good:
                continue
            good.append(cas)
            earlier = self._row_of_cas.setdefault(cas, number)
            if earlier != number:
                warnings.append(
                    InvalidValueError(
                        "registry.importing.cas_shared", field="cas", no=number, value=cas, other=earlier
                    )
                )
        if good:
            fields["CAS_NO"] = _SEPARATOR.join(good)
        return warnings


def _texts(row: Mapping[str, Any], member: str) -> list[str]:
    given = row.get(member)
    if given is None:
        return []
    several = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) for one in several):
        raise MalformedError("registry.importing.catalogue_texts", field=member)
    return [one.strip() for one in several if one.strip()]


def _aliases(given: list[str], fields: dict[str, str], notes: list[str]) -> None:
    kept: list[str] = []
    for alias in given:
        if _SEPARATOR in alias or len(kept) == _MOST_ALIASES:
            notes.append(alias)
        elif alias not in kept:
            kept.append(alias)
    if kept:
        fields["ALIASES"] = _SEPARATOR.join(kept)
