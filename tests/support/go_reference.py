"""The Go project's own implementations of signed notes and of the hash tree, to hold a log against.

    with a_reference(folder) as go:
        go("open_note", note=raw, vkeys=[vkey])["text"]

The program is `tests/federation/crosscheck/main.go`; it is built here with what the system has installed (Debian:
`golang-go` and `golang-golang-x-mod-dev`). Nothing is downloaded. Where something is missing, the test skips and says
what.
"""

import base64
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

__all__ = ["GoReference", "Refused", "a_reference", "as_bytes"]

_SOURCE = Path(__file__).parents[1] / "federation" / "crosscheck" / "main.go"
_PACKAGE = Path("src") / "golang.org" / "x" / "mod" / "sumdb" / "tlog"
#: Where Debian puts the sources of packages, unless GOPATH says otherwise.
_GOPATH = "/usr/share/gocode"
_BUILD_SECONDS = 300
_ANSWER_SECONDS = 120
_MAX_SHOWN = 400


class Refused(Exception):
    """What the reference said no to."""


class GoReference:
    """Asks the running program; one question at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def __call__(self, do: str, **what: Any) -> dict[str, Any]:
        """Ask; bytes at any depth travel as base64.

        Raises:
            Refused: the reference refuses.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # a program that hangs is ended: its empty answer then fails the test
        timer = threading.Timer(_ANSWER_SECONDS, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(orjson.dumps({"do": do, **_as_text(what)}) + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        assert line, f"the reference ended at {do} {str(what)[:_MAX_SHOWN]}"
        told: dict[str, Any] = orjson.loads(line)
        error = told.get("error", "")
        assert not error.startswith(("panic", "unknown request", "json")), error
        if error:
            raise Refused(error)
        return told

    def refuses(self, do: str, **what: Any) -> bool:
        """Say whether the reference says no."""
        try:
            self(do, **what)
        except Refused:
            return True
        return False


@contextmanager
def a_reference(folder: Path) -> Iterator[GoReference]:
    """Build and run the program; skip the test where the system has no Go, or not its package."""
    program = _built(folder)
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield GoReference(process)
    finally:
        process.kill()
        process.communicate()


def as_bytes(texts: list[str] | None) -> list[bytes]:
    """Return what travelled as base64."""
    return [base64.b64decode(text, validate=True) for text in texts or ()]


def _built(folder: Path) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("the go command is not installed (Debian: golang-go)")
    paths = [path for path in (*os.environ.get("GOPATH", "").split(os.pathsep), _GOPATH) if path]
    path = next((path for path in paths if (Path(path) / _PACKAGE).is_dir()), None)
    if path is None:
        pytest.skip("the package golang.org/x/mod is not installed (Debian: golang-golang-x-mod-dev)")
    program = folder / "crosscheck"
    settings = {
        "GO111MODULE": "off",
        "GOPATH": path,
        "GOFLAGS": "",
        "GOCACHE": str(folder / "cache"),
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
    }
    done = subprocess.run(
        [go, "build", "-o", str(program), str(_SOURCE)],
        env=os.environ | settings,
        capture_output=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    # it is there and does not build: that is a failure, not a reason to skip
    assert done.returncode == 0, done.stderr.decode()
    return program


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _as_text(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(inner) for inner in value]
    return value
