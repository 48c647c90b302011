"""Runs the tests against a mutant, in a child process that is forked after everything has been imported.

Two ways. *Quick*: the tests are collected once and each child puts the changed code into the functions that are there;
it runs only the tests that come past the changed lines. *Whole*: the child imports the project anew with the changed
module in place and runs every test of the list; for changes that act while the module is imported, and as a second
opinion on whatever survived the quick way.
"""

import gc
import importlib.abc
import importlib.machinery
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.mutation.operators import Mutant, Source
from tests.mutation.targets import ROOT, Target

__all__ = ["KILLED", "SURVIVED", "TIMEOUT", "UNCOVERED", "Verdict", "quick", "whole"]

KILLED, SURVIVED, TIMEOUT, UNCOVERED = "killed", "survived", "timeout", "uncovered"

_ADDOPTS = (
    "--strict-markers --disable-socket --allow-unix-socket --allow-hosts=127.0.0.1,::1,localhost "
    "-p no:cacheprovider -p no:xdist -p no:schemathesis -p no:pytest_cov"
)
_ENOUGH_MEMORY = 6 << 30
_LEAST_SECONDS = 2
#: A child that waits instead of working; on a busy machine the clock says little, so this is long.
_WAITING_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant, and by which test."""

    outcome: str
    by: str = ""


@dataclass(slots=True)
class Passage:
    """How a test runs on the code as it is: seconds, and the lines of the module it comes past."""

    seconds: float = 0.0
    lines: frozenset[int] = frozenset()


def _arguments(target: Target, basetemp: Path) -> list[str]:
    tests = [str(ROOT / one) for one in target.tests]
    return ["-q", "-x", f"--rootdir={ROOT}", f"--basetemp={basetemp}", "-o", f"addopts={_ADDOPTS}", *tests]


class Calm:
    """Makes what hypothesis tries the same each time, and keeps it from looking for the smallest example."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """Load the profile after the tests' own, before any test is read."""
        from hypothesis import HealthCheck, Phase, settings

        settings.register_profile(
            "mutation",
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        settings.load_profile("mutation")


# -- children ----------------------------------------------------------------------------------------------------


def forked(work: Callable[[Callable[[bytes], None]], int], seconds: float) -> tuple[int | None, bytes]:
    """Run `work` in a child with a limit of processor time, and return its exit status and what it said.

    Returns:
        None for the status of a child that was stopped because its time or memory was over.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        _child(work, reader, writer, seconds)
    os.close(writer)
    said, late = _heard(reader, time.monotonic() + _WAITING_SECONDS + 8 * seconds)
    os.close(reader)
    if late:
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if late or os.WIFSIGNALED(status):
        return None, said
    return os.waitstatus_to_exitcode(status), said


def _child(work: Callable[[Callable[[bytes], None]], int], reader: int, writer: int, seconds: float) -> None:
    status = 3
    try:
        os.setpgid(0, 0)
        os.close(reader)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (_ENOUGH_MEMORY, _ENOUGH_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        status = work(lambda said: _said(writer, said))
    finally:
        os._exit(status)


def _said(writer: int, said: bytes) -> None:
    while said:
        said = said[os.write(writer, said) :]


def _heard(reader: int, until: float) -> tuple[bytes, bool]:
    """Listen until the child is gone; say whether it was too late for that."""
    said = b""
    poll = select.poll()
    poll.register(reader, select.POLLIN | select.POLLHUP)
    while (left := until - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            piece = os.read(reader, 1 << 16)
            if not piece:
                return said, False
            said += piece
    return said, True


def _in_silence() -> None:
    if os.environ.get("MUTATION_NOISE"):
        return
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)


# -- the quick way -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Session:
    """A pytest plugin: tests are collected, then run for each mutant in a child of its own."""

    target: Target
    source: Source
    todo: Sequence[int]
    tell: Callable[[bytes], None]
    failed: list[str] = field(default_factory=list)
    killers: Counter[str] = field(default_factory=Counter)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Remember what failed."""
        if report.failed:
            self.failed.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: Any) -> bool:
        """Run the tests on the code as it is, then on each mutant."""
        items = list(session.items)
        status, said = forked(lambda tell: self._passages(items, tell), 600)
        if status != 0:
            broken = said.decode(errors="replace")
            self._line("broken", broken[-2000:] or f"status {status}")
            return True
        rows = [json.loads(line) for line in said.splitlines()]
        passages = {row[0]: Passage(row[1], frozenset(row[2])) for row in rows}
        functions = _functions(self.target.path)
        for number in self.todo:
            self._line("verdict", [number, *self._judged(number, items, passages, functions)])
        return True

    def _line(self, kind: str, content: Any) -> None:
        self.tell(json.dumps([kind, content]).encode() + b"\n")

    def _passages(self, items: list[Any], tell: Callable[[bytes], None]) -> int:
        """Say for each test how long it takes and which lines it comes past."""
        for item, after in zip(items, [*items[1:], None], strict=True):
            seen: set[int] = set()
            with tracing(str(self.target.path), seen):
                begun = time.process_time()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                seconds = time.process_time() - begun
            if self.failed:
                tell(f"{self.failed[0]} fails on the code as it is".encode())
                return 1
            tell(json.dumps([item.nodeid, seconds, sorted(seen)]).encode() + b"\n")
        return 0

    def _judged(
        self, number: int, items: list[Any], passages: dict[str, Passage], functions: "Functions"
    ) -> tuple[str, str]:
        mutant = self.source.mutants[number]
        lines = frozenset(range(mutant.first, mutant.last + 1))
        chosen = [item for item in items if lines & passages[item.nodeid].lines]
        if mutant.at_import:
            chosen = list(items)
        elif not chosen:
            return UNCOVERED, ""
        chosen.sort(key=lambda item: (-self.killers[item.nodeid], passages[item.nodeid].seconds))
        usual = sum(passages[item.nodeid].seconds for item in chosen)
        status, said = forked(
            lambda tell: self._tried(mutant, chosen, functions, tell), _LEAST_SECONDS + 3 * usual
        )
        by = said.decode()
        self.killers[by] += bool(by)
        if status is None:
            return TIMEOUT, by
        return (SURVIVED if status == 0 else KILLED), by

    def _tried(
        self, mutant: Mutant, chosen: list[Any], functions: "Functions", tell: Callable[[bytes], None]
    ) -> int:
        code = self.source.compiled(mutant)
        if mutant.at_import:
            _renew(self.target.dotted, code)
        elif not _put(code, functions):
            return 0  # for the whole way to decide
        for item, after in zip(chosen, [*chosen[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self.failed:
                tell(item.nodeid.encode())
                return 1
        return 0


class tracing:
    """Notes which lines of a file are run meanwhile, in any thread."""

    def __init__(self, path: str, seen: set[int]) -> None:
        self._path, self._seen = path, seen

    def __enter__(self) -> None:
        sys.settrace(self._call)
        threading.settrace(self._call)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _call(self, frame: types.FrameType, _event: str, _arg: Any) -> Any:
        if frame.f_code.co_filename != self._path:
            return None
        self._seen.add(frame.f_lineno)
        return self._line

    def _line(self, frame: types.FrameType, _event: str, _arg: Any) -> Any:
        self._seen.add(frame.f_lineno)
        return self._line


Functions = dict[tuple[str, int], list[types.FunctionType]]


def _functions(path: Path) -> Functions:
    """Return the live functions that were made from a file."""
    found: Functions = {}
    for one in gc.get_objects():
        if isinstance(one, types.FunctionType) and one.__code__.co_filename == str(path):
            found.setdefault((one.__code__.co_qualname, one.__code__.co_firstlineno), []).append(one)
    return found


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _codes(constant)


def _put(code: types.CodeType, functions: Functions) -> bool:
    """Put changed code into the functions there are; say whether it was possible."""
    try:
        for one in _codes(code):
            for function in functions.get((one.co_qualname, one.co_firstlineno), ()):
                function.__code__ = one
    except ValueError:
        return False
    return True


def _renew(name: str, code: types.CodeType) -> None:
    """Run a changed module beside the one there is; give the latter the constants and defaults that come out.

    What is made in the body of a class stays as it was: for the whole way to decide.
    """
    old, new = vars(sys.modules[name]), types.ModuleType(name)
    exec(code, vars(new))
    for known, value in vars(new).items():
        if isinstance(value, types.FunctionType) and value.__module__ == name:
            function = old[known]
            function = getattr(function, "__wrapped__", function)
            function.__defaults__, function.__kwdefaults__ = value.__defaults__, value.__kwdefaults__
        elif not isinstance(value, type | types.ModuleType) and not callable(value):
            _replace(known, old[known], value)


def _replace(known: str, before: object, value: object) -> None:
    """Give a constant another value, wherever it was imported to."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        if names.get(known) is before and not known.startswith("__"):
            names[known] = value


def quick(target: Target, source: Source, todo: Sequence[int]) -> Iterator[tuple[str, Any]]:
    """Try mutants the quick way; yield `("verdict", [number, outcome, test])` as they come.

    Where the tests fail on the code as it is, yields `("broken", why)`.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _collect(target, source, todo, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            kind, content = json.loads(line)
            yield kind, content
    os.waitpid(pid, 0)


def _collect(target: Target, source: Source, todo: Sequence[int], writer: int) -> None:
    """Be the process that collects the tests and forks for each mutant; never returns."""
    try:
        _in_silence()
        session = Session(target, source, todo, lambda said: _said(writer, said))
        pytest.main(_arguments(target, _basetemp()), plugins=[Calm(), session])
    finally:
        os._exit(0)


def _basetemp() -> Path:
    return ROOT / "build" / "mutation" / "tmp"


# -- the whole way -----------------------------------------------------------------------------------------------


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from changed code."""

    def __init__(self, name: str, path: Path, code: types.CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> Any:
        """Answer for the one module."""
        if fullname != self._name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=str(self._path))

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the changed code."""
        module.__file__ = str(self._path)
        exec(self._code, module.__dict__)


def whole(target: Target, source: Source, number: int, *, seconds: float) -> Verdict:
    """Try a mutant with everything imported anew and every test of the list."""

    def work(_: Callable[[bytes], None]) -> int:
        _in_silence()
        code = source.compiled(source.mutants[number])
        sys.meta_path.insert(0, Changed(target.dotted, target.path, code))
        return int(pytest.main(_arguments(target, _basetemp()), plugins=[Calm()]))

    status, _said = forked(work, seconds)
    if status is None:
        return Verdict(TIMEOUT)
    if status == pytest.ExitCode.NO_TESTS_COLLECTED:
        raise RuntimeError(f"{target.module}: no tests")
    return Verdict(SURVIVED if status == 0 else KILLED)
