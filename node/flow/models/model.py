"""What every flow model declares, and what it says.

- A `Model` has a name, a version, its inputs with units, and its parameters. A change of what it computes is a new
  version.
- A `Parameter` has one value per period: figures of law and standards carry source, clause and effective dates;
  what no public source gives is `OWN`, the node's own definition, and may be set by the node.
- `Model.settings` picks the values that hold on a date and lays the node's own over them.
- A `Finding` is what the journal takes as a warning: who, what, how grave, and the evidence in plain values (text,
  numbers, lists: what JSON can hold), told by a catalogue text. Its `key` is the same whenever the same thing is
  found again.
- A `Result` names the parameters it was made with, so that it can be made again.
- `Incremental` gives, as inputs come, the findings that `run` gives on all of them.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from node.flow.models.checks import instant, number
from registry.errors import InvalidValueError
from registry.language import Language, text

__all__ = [
    "OWN",
    "Dated",
    "Finding",
    "Grade",
    "Incremental",
    "Input",
    "Model",
    "Parameter",
    "Result",
    "in_order",
    "own",
    "ruled",
    "stamp",
]

#: The source of a parameter that no public document gives.
OWN = "node's own definition"

_MESSAGES = "node.flow_models"

Item = TypeVar("Item")


class Grade(StrEnum):
    """How grave, in the four colours of the programme."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Dated:
    """A value and the period it holds in.

    Attributes:
        value: the figure, in the parameter's unit.
        source: document, or `OWN`.
        clause: where in the document.
        since: first day; None = from the beginning.
        until: last day; None = still.
        confirmed: False where only secondary sources give the figure.
    """

    value: float
    source: str = OWN
    clause: str = ""
    since: date | None = None
    until: date | None = None
    confirmed: bool = True

    def holds(self, day: date) -> bool:
        """Say whether this value holds on `day`."""
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A figure that a model depends on; `least` and `most` bound what a node may set."""

    name: str
    unit: str
    values: tuple[Dated, ...]
    least: float = 0.0
    most: float | None = None

    def on(self, day: date) -> Dated:
        """Return the value that holds on `day`.

        Raises:
            InvalidValueError: none does.
        """
        for value in self.values:
            if value.holds(day):
                return value
        raise InvalidValueError(f"{_MESSAGES}.no_value", field=self.name, value=day.isoformat())

    @property
    def own(self) -> bool:
        """Say whether the figure is the node's own definition."""
        return all(value.source == OWN for value in self.values)


def own(name: str, unit: str, value: float, *, least: float = 0.0, most: float | None = None) -> Parameter:
    """Return a parameter that is the node's own definition."""
    return Parameter(name, unit, (Dated(value),), least, most)


def ruled(
    name: str,
    unit: str,
    value: float,
    source: str,
    clause: str = "",
    *,
    since: date | None = None,
    confirmed: bool = True,
) -> Parameter:
    """Return a parameter that a document gives."""
    return Parameter(name, unit, (Dated(value, source, clause, since, None, confirmed),))


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a model: its field and its unit."""

    name: str
    unit: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Model:
    """A model as declared; `run` takes its inputs, parameters and one instant."""

    name: str
    version: str
    inputs: tuple[Input, ...]
    parameters: tuple[Parameter, ...]
    run: "Callable[..., Result]"

    def title(self, language: Language = "zh") -> str:
        """Return the model's name for people."""
        return text(f"{_MESSAGES}.model_{self.name}", language)

    def settings(self, day: date, own_values: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return the parameters that hold on `day`, with the node's own values laid over them.

        Raises:
            InvalidValueError: an unknown parameter, or a value out of its bounds.
        """
        settings = {parameter.name: parameter.on(day).value for parameter in self.parameters}
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in (own_values or {}).items():
            if name not in known:
                raise InvalidValueError(
                    f"{_MESSAGES}.unknown_parameter", field=name, value=", ".join(sorted(known))
                )
            bounds = known[name]
            settings[name] = number(value, name, least=bounds.least, most=bounds.most)
        return settings

    def finding(
        self, kind: str, subject: str, grade: Grade, at: datetime, key: str = "", /, **evidence: Any
    ) -> "Finding":
        """Return a finding of this model."""
        return Finding(
            model=self.name,
            version=self.version,
            kind=kind,
            subject=subject,
            grade=grade,
            at=at,
            key=f"{self.name}|{kind}|{subject}|{key}",
            evidence=evidence,
        )

    def result(
        self,
        at: datetime,
        settings: Mapping[str, float],
        findings: Iterable["Finding"],
        **figures: Any,
    ) -> "Result":
        """Return a result of this model, its findings in order."""
        return Result(self.name, self.version, at, in_order(findings), dict(settings), figures)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is wrong.

    Attributes:
        model: name of the model.
        version: its version.
        kind: what was found; names the text.
        subject: identifier of what it is about.
        grade: how grave.
        at: the instant at which the inputs showed it.
        key: equal for the same thing found again.
        evidence: the values it rests on.
    """

    model: str
    version: str
    kind: str
    subject: str
    grade: Grade
    at: datetime
    key: str
    evidence: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Return the name of the catalogue text."""
        return f"{_MESSAGES}.{self.kind}"

    def text(self, language: Language = "zh") -> str:
        """Return what an operator reads."""
        return text(self.title, language, subject=self.subject, **self.evidence)


@dataclass(frozen=True, slots=True)
class Result:
    """What a model said, and what it was made with."""

    model: str
    version: str
    at: datetime
    findings: tuple[Finding, ...]
    parameters: Mapping[str, float]
    figures: Mapping[str, Any] = field(default_factory=dict)

    def of(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings once each, in an order that does not depend on how they were found."""
    return tuple(sorted({one.key: one for one in findings}.values(), key=lambda one: (one.at, one.key)))


def stamp(at: datetime) -> str:
    """Return an instant as evidence writes it: UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Incremental(Generic[Item]):
    """Inputs one by one, in any order: after each, the findings of all of them so far.

    Only the group an input belongs to is assessed again; the model must judge each group by itself. One caller at
    a time.

    Args:
        assess: the findings of one group at an instant.
        group: what an input is judged together with.
    """

    def __init__(
        self,
        assess: Callable[[Sequence[Item], datetime], Iterable[Finding]],
        group: Callable[[Item], Hashable],
    ) -> None:
        self._assess = assess
        self._group = group
        self._items: dict[Hashable, list[Item]] = {}
        self._found: dict[Hashable, tuple[Finding, ...]] = {}

    def add(self, item: Item, *, at: datetime) -> tuple[Finding, ...]:
        """Take one more input; return what it newly shows.

        Raises:
            InvalidValueError: the input is not usable; it was not taken.
        """
        group = self._group(item)
        before = {finding.key for finding in self._found.get(group, ())}
        items = [*self._items.get(group, ()), item]
        found = in_order(self._assess(items, instant(at, "at")))
        self._items[group], self._found[group] = items, found
        return tuple(finding for finding in found if finding.key not in before)

    def findings(self, *, at: datetime) -> tuple[Finding, ...]:
        """Return all findings at an instant: some come by time alone."""
        self._found = {group: in_order(self._assess(items, at)) for group, items in self._items.items()}
        return in_order(finding for found in self._found.values() for finding in found)

    def forget(self, old: Callable[[Item], bool]) -> None:
        """Drop inputs that nothing needs any more, and groups that are empty then."""
        for group, items in list(self._items.items()):
            kept = [item for item in items if not old(item)]
            if kept:
                self._items[group] = kept
            else:
                del self._items[group]
                self._found.pop(group, None)
