"""What is wrong in a document: where, what, and what would be right.

A fault is made only when something is wrong, so the way to it is kept as a chain of steps and turned into a JSON
Pointer (RFC 6901) then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from registry.errors import InvalidValueError
from registry.language import Language, text

__all__ = ["ROOT", "DocumentError", "Fault", "Path", "Sink", "pointer"]

#: The way to a value: (the way to its container, its name or index); `ROOT` is the document.
Path = tuple[Any, str | int] | None
ROOT: Path = None

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        pointer: where, as JSON Pointer; the empty string is the whole document.
        name: which rule, the text `node.flow_events.<name>`.
        params: what the text's placeholders stand for.
    """

    pointer: str
    name: str
    params: Mapping[str, str]

    def message(self, language: Language = "en") -> str:
        """Return what is wrong and what would be right."""
        return text(f"node.flow_events.{self.name}", language, **self.params)


class DocumentError(InvalidValueError):
    """A document, or an event of it, breaks rules; `faults` tells each one."""

    faults: tuple[Fault, ...] = ()

    @classmethod
    def of(cls, faults: tuple[Fault, ...]) -> Self:
        """Return the refusal for these faults, at least one."""
        made = cls("node.flow_events.refused", field=faults[0].pointer, count=len(faults))
        made.faults = faults
        return made

    def message(self, language: Language = "en") -> str:
        """Return how many faults there are, and the first."""
        if not self.faults:
            return super().message(language)
        first = self.faults[0]
        return text(
            self.code, language, count=len(self.faults), field=first.pointer, first=first.message(language)
        )


@dataclass(slots=True)
class Sink:
    """Where the faults of one judgement are gathered, up to a cap: behind it one only knows that there are more.

    Attributes:
        cut: there were more faults than `cap`.
    """

    cap: int
    faults: list[Fault] = field(default_factory=list)
    cut: bool = False

    def add(self, at: Path, name: str, **params: object) -> None:
        """Tell a fault at `at`."""
        if len(self.faults) < self.cap:
            shown = {key: _shown(value) for key, value in params.items()}
            self.faults.append(Fault(pointer(at), name, shown))
        else:
            self.cut = True


def pointer(at: Path) -> str:
    """Return the way as JSON Pointer."""
    steps: list[str] = []
    while at is not None:
        at, step = at
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{step}" for step in reversed(steps))


def _shown(value: object) -> str:
    whole = value if isinstance(value, str) else str(value)
    return whole if len(whole) <= _SHOWN else f"{whole[:_SHOWN]}…"
