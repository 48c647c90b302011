"""Change the code that verifies in many small ways, and see whether the tests notice.

python -m tests.mutation [MODULE…]     all modules of targets.toml, or those whose path contains a word given here;
                                       what was done is kept in build/mutation, so it can be broken off and taken up
  --again                              forget what was done
  --survivors                          only what survived last time, whatever the tests are now
  --list                               say how many mutants there are
  --no-second                          believe the quick way where it says that a mutant survived

Exit status 1 where a mutant survives that is not listed, with its reason, in tests/mutation/equivalents.toml.
"""

import argparse
import datetime as dt
import hashlib
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutation import operators, running
from tests.mutation.operators import Source
from tests.mutation.running import KILLED, SURVIVED, TIMEOUT, UNCOVERED
from tests.mutation.targets import ROOT, Target, known, targets

_STORE = ROOT / "build" / "mutation"
_WHOLE_SECONDS = 300.0  # of processor time


@dataclass(slots=True)
class Result:
    """One module's outcome."""

    target: Target
    source: Source
    outcomes: dict[int, str]
    equivalent: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def survivors(self) -> list[int]:
        """Numbers of the mutants that no test noticed and no reason excuses."""
        return [
            n for n, how in self.outcomes.items() if how in (SURVIVED, UNCOVERED) and n not in self.equivalent
        ]

    def row(self) -> str:
        """Return a line of the table."""
        count = Counter(self.outcomes.values())
        died = count[KILLED] + count[TIMEOUT]
        same = len(self.equivalent)
        return f"| `{self.target.module}` | {len(self.source.mutants)} | {died} | {same} | {len(self.survivors)} |"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="MODULE")
    for flag in ("--again", "--survivors", "--list", "--no-second"):
        parser.add_argument(flag, action="store_true")
    asked = parser.parse_args(arguments)
    chosen = [
        one for name, one in targets().items() if not asked.words or any(w in name for w in asked.words)
    ]
    if not chosen:
        parser.error("no such module in tests/mutation/targets.toml")
    if asked.list:
        for target in chosen:
            print(f"{len(Source(target.path).mutants):6} {target.module}")
        return 0
    _import_what_others_made()
    results = [_module(target, asked) for target in chosen]
    _report(results)
    return 1 if any(result.survivors or result.errors for result in results) else 0


def _import_what_others_made() -> None:
    """Import the large libraries before anything forks: each child then has them. None of the project's modules."""
    for name in (
        "cryptography.hazmat.primitives.asymmetric.ed25519",
        "httpx",
        "hypothesis",
        "orjson",
        "sqlalchemy",
    ):
        __import__(name)


def _module(target: Target, asked: argparse.Namespace) -> Result:
    begun = time.monotonic()
    source = Source(target.path)
    excused = known(target, source.mutants)
    store = _STORE / f"{target.dotted}.json"
    done = {} if asked.again else _stored(store, target, only_killed=asked.survivors)
    outcomes = {n: done[_name(m)] for n, m in enumerate(source.mutants) if _name(m) in done}
    result = Result(target, source, outcomes)
    result.equivalent = {n for n, mutant in enumerate(source.mutants) if mutant.key in excused}
    todo = [n for n in range(len(source.mutants)) if n not in outcomes]
    try:
        _quickly(result, todo)
        alive = (SURVIVED, UNCOVERED)  # no test comes past what runs while the module is imported
        again = [n for n in todo if result.outcomes.get(n) in alive and n not in result.equivalent]
        again = [] if asked.no_second else again
        for done_already, n in enumerate(again):
            result.outcomes[n] = running.whole(target, Source(target.path), n, seconds=_WHOLE_SECONDS).outcome
            _progress(target, f"{done_already + 1} of {len(again)} a second time")
    finally:
        _store(store, result)
    for n in sorted(result.equivalent):
        if result.outcomes.get(n) in (KILLED, TIMEOUT):
            result.errors.append(f"listed as equivalent, but a test notices it: {source.mutants[n].key}")
    result.seconds = time.monotonic() - begun
    print(f"\r{result.row()} {result.seconds:.0f} s", flush=True)
    return result


def _quickly(result: Result, todo: list[int]) -> None:
    if not todo:
        return
    for kind, content in running.quick(result.target, result.source, todo):
        if kind == "broken":
            result.errors.append(f"no verdict: {content}")
        elif kind == "verdict":
            number, outcome, _by = content
            result.outcomes[number] = outcome
            _progress(result.target, f"{len(result.outcomes)} of {len(result.source.mutants)}")
    left = [n for n in todo if n not in result.outcomes]
    if left and not result.errors:
        result.errors.append(f"no verdict on {len(left)} mutants")


def _progress(target: Target, text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{target.module} {text}   ", end="", file=sys.stderr, flush=True)


def _report(results: list[Result]) -> None:
    lines = [f"# Mutants, {dt.datetime.now(dt.UTC):%Y-%m-%d}", ""]
    lines += ["| module | mutants | killed | equivalent | survivors |", "|---|---|---|---|---|"]
    lines += [result.row() for result in results]
    lines.append(
        f"| all | {sum(len(r.source.mutants) for r in results)} "
        f"| {sum(sum(how in (KILLED, TIMEOUT) for how in r.outcomes.values()) for r in results)} "
        f"| {sum(len(r.equivalent) for r in results)} | {sum(len(r.survivors) for r in results)} |"
    )
    for result in results:
        lines += [f"\nERROR {result.target.module}: {error}" for error in result.errors]
        for number in result.survivors:
            mutant = result.source.mutants[number]
            place = f"{result.target.module}:{mutant.lineno} {mutant.function} [{mutant.operator}]"
            lines += [
                f"\n{place} {result.outcomes[number]}",
                f"    {mutant.key}",
                *(f"    {line}" for line in result.source.difference(mutant).splitlines()),
            ]
    (_STORE / "report.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


# -- what was done -----------------------------------------------------------------------------------------------


def _name(mutant: operators.Mutant) -> str:
    return json.dumps(mutant.key, ensure_ascii=False)


def _digests(target: Target) -> dict[str, str]:
    code = [target.path, Path(operators.__file__)]
    tests = [ROOT / one for one in target.tests]
    return {
        "code": hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest(),
        "tests": hashlib.sha256(b"".join(path.read_bytes() for path in tests)).hexdigest(),
    }


def _stored(store: Path, target: Target, *, only_killed: bool) -> dict[str, str]:
    """Return what was found before, where code and tests are what they were."""
    try:
        kept: dict[str, Any] = json.loads(store.read_text())
    except FileNotFoundError:
        return {}
    now = _digests(target)
    if kept["code"] != now["code"] or (kept["tests"] != now["tests"] and not only_killed):
        return {}
    found: dict[str, str] = kept["outcomes"]
    return {name: how for name, how in found.items() if not only_killed or how in (KILLED, TIMEOUT)}


def _store(store: Path, result: Result) -> None:
    outcomes = {_name(result.source.mutants[n]): how for n, how in result.outcomes.items()}
    store.parent.mkdir(parents=True, exist_ok=True)
    store.write_text(
        json.dumps(_digests(result.target) | {"outcomes": outcomes}, ensure_ascii=False, indent=0)
    )


if __name__ == "__main__":
    sys.exit(main())
