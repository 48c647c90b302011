"""Which modules are changed, which tests have to notice, and which changes nobody could notice."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.operators import Mutant

__all__ = ["EQUIVALENTS", "ROOT", "Equivalent", "Target", "equivalents", "known", "targets"]

ROOT = Path(__file__).resolve().parents[2]
_HERE = Path(__file__).resolve().parent
EQUIVALENTS = _HERE / "equivalents.toml"


@dataclass(frozen=True, slots=True)
class Target:
    """A module and the test files that are run against its mutants, the one that mirrors it first."""

    module: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file of the module."""
        return ROOT / self.module

    @property
    def dotted(self) -> str:
        """The name it is imported by."""
        return self.module.removesuffix(".py").replace("/", ".")


@dataclass(frozen=True, slots=True)
class Equivalent:
    """A mutant that behaves as the code does, and why no input can tell them apart."""

    module: str
    function: str
    line: str
    operator: str
    change: str
    nth: int
    reason: str

    @property
    def key(self) -> tuple[str, str, str, str, int]:
        """What names the mutant within its module."""
        return (self.function, self.line, self.operator, self.change, self.nth)


def targets() -> dict[str, Target]:
    """Return every module that is to be changed, by its path."""
    rows = tomllib.loads((_HERE / "targets.toml").read_text())["module"]
    return {path: Target(path, (_mirror(path), *more)) for path, more in rows.items()}


def equivalents(module: str) -> dict[tuple[str, str, str, str, int], Equivalent]:
    """Return the mutants of a module that are known to behave as the module does.

    Raises:
        ValueError: one stands there twice or gives no reason.
    """
    found: dict[tuple[str, str, str, str, int], Equivalent] = {}
    for row in tomllib.loads(EQUIVALENTS.read_text()).get("equivalent", []):
        if row["module"] != module:
            continue
        one = Equivalent(**({"nth": 0} | row))
        if one.key in found or not one.reason.strip():
            raise ValueError(f"{module}: listed twice or without a reason: {one.key}")
        found[one.key] = one
    return found


def known(target: Target, mutants: list[Mutant]) -> dict[tuple[str, str, str, str, int], Equivalent]:
    """Return the equivalents of a module.

    Raises:
        ValueError: one of them is no longer a mutant of the module: the line has changed, the reason must be thought over.
    """
    listed = equivalents(target.module)
    gone = set(listed) - {mutant.key for mutant in mutants}
    if gone:
        lines = "\n  ".join(map(str, sorted(gone)))
        raise ValueError(f"{target.module}: {EQUIVALENTS.name} names what is no mutant any more:\n  {lines}")
    return listed


def _mirror(module: str) -> str:
    path = Path(module)
    return str(Path("tests/unit") / path.parent / f"test_{path.name}")
