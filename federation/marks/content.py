"""What the mark file says, and which changes of it are allowed; no file, no clock.

Rules (facts on federation, (b) "Restore from backup"):

- a lane is one (sender, receiver, stream); its mark is an epoch and a bound: no sequence number above the bound was
  ever signed in that epoch. An epoch never falls, and within an epoch the bound never falls;
- the mark of a log is the exact size and root of the newest checkpoint signed: a smaller size is refused, so is the
  same size with another root;
- the fence never falls; whoever takes it gives the file its own instance number;
- the file names the digest of its own content: a damaged or edited one is refused, never guessed at;
- `sure` is false for a file made anew beside a database in use: nothing is signed until the peers were asked.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from registry.errors import ConflictError, MalformedError, UntrustedError
from registry.identifier import Prefix
from registry.trust import strict_json
from registry.trust.encoding import b64u, from_b64u

__all__ = ["INSTANCE_BYTES", "RESERVED_AT_ONCE", "CheckpointMark", "Content", "LaneMark", "lane_name"]

INSTANCE_BYTES = 16
#: How far the bound is raised at once: one fsync serves this many envelopes.
RESERVED_AT_ONCE = 1_000

_VERSION = 1
_ROOT_BYTES = 32
_LARGEST = (1 << 53) - 1
_MEMBERS = ("version", "instance", "fence", "sure", "lanes", "checkpoints", "sha256")


def lane_name(iss: Prefix, aud: Prefix, stream: str) -> str:
    """Return the name of a lane in the mark file: `<iss>|<aud>|<stream>`, both prefixes folded."""
    return f"{iss.key}|{aud.key}|{stream}"


@dataclass(frozen=True, slots=True)
class LaneMark:
    """How far one lane may have got.

    Attributes:
        epoch: incarnation of the sender's store.
        bound: no number above it was signed in that epoch.
    """

    epoch: int
    bound: int


@dataclass(frozen=True, slots=True)
class CheckpointMark:
    """The newest checkpoint signed for one log: its size in leaves, and its root of 32 bytes."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Content:
    """One state of the mark file.

    Attributes:
        instance: 16 bytes, drawn anew by each holder of the fence: two copies of a node never share it.
        fence: grows with each election won.
        sure: false until the peers were asked how far this node had come.
        lanes: by `lane_name`.
        checkpoints: by origin of the log.
    """

    instance: bytes
    fence: int = 0
    sure: bool = True
    lanes: Mapping[str, LaneMark] = field(default_factory=dict)
    checkpoints: Mapping[str, CheckpointMark] = field(default_factory=dict)

    def raised(self, lane: str, epoch: int, seq: int) -> "Content":
        """Return the content that lets `seq` of `epoch` be signed; itself when it does so already.

        Raises:
            UntrustedError: the lane has reached a later epoch.
        """
        known = self.lanes.get(lane)
        if known is not None:
            if epoch < known.epoch:
                raise UntrustedError(
                    "federation.marks.epoch", field="epoch", lane=lane, value=epoch, right=known.epoch
                )
            if epoch == known.epoch and seq <= known.bound:
                return self
        return replace(self, lanes={**self.lanes, lane: LaneMark(epoch, seq + RESERVED_AT_ONCE - 1)})

    def signed(self, origin: str, size: int, root: bytes) -> "Content":
        """Return the content after a checkpoint of this size and root; itself when it is the known one.

        Raises:
            UntrustedError: a larger checkpoint was signed, or one of this size with another root.
        """
        known = self.checkpoints.get(origin)
        if known is not None:
            if size < known.size:
                raise UntrustedError(
                    "federation.marks.smaller", field="size", origin=origin, value=size, right=known.size
                )
            if size == known.size:
                if root != known.root:
                    raise UntrustedError("federation.marks.fork", field="root", origin=origin, value=size)
                return self
        return replace(self, checkpoints={**self.checkpoints, origin: CheckpointMark(size, root)})

    def taken(self, instance: bytes, fence: int) -> "Content":
        """Return the content after another holder took the fence.

        Raises:
            ConflictError: `fence` is not above the known one.
        """
        if fence <= self.fence:
            raise ConflictError("federation.marks.fenced", field="fence", value=fence, right=self.fence)
        return replace(self, instance=instance, fence=fence)

    def encode(self) -> bytes:
        """Return the file: readable JSON that names the digest of its content."""
        said = self._said()
        said["sha256"] = _digest(said)
        return orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def decode(cls, raw: bytes) -> "Content":
        """Read the file.

        Raises:
            UntrustedError: damaged, edited, or of a later release.
        """
        try:
            said = strict_json.loads(raw)
        except MalformedError as error:
            raise _damaged("JSON") from error
        if not isinstance(said, dict):
            raise _damaged("JSON")
        if said.get("version") != _VERSION:
            raise UntrustedError(
                "federation.marks.version",
                field="version",
                value=str(said.get("version"))[:32],
                right=_VERSION,
            )
        digest = said.pop("sha256", None)
        if not isinstance(digest, str) or digest != _digest(said):
            raise _damaged("sha256")
        made = _read(said)
        if made.encode() != raw:
            raise _damaged("form")
        return made

    def _said(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "instance": b64u(self.instance),
            "fence": self.fence,
            "sure": self.sure,
            "lanes": {
                name: {"epoch": mark.epoch, "bound": mark.bound} for name, mark in sorted(self.lanes.items())
            },
            "checkpoints": {
                name: {"size": mark.size, "root": b64u(mark.root)}
                for name, mark in sorted(self.checkpoints.items())
            },
        }


def _digest(said: Mapping[str, Any]) -> str:
    return b64u(hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest())


def _damaged(field_: str) -> UntrustedError:
    return UntrustedError("federation.marks.damaged", field=field_)


def _read(said: Mapping[str, Any]) -> Content:
    if set(said) != set(_MEMBERS) - {"sha256"}:
        raise _damaged("members")
    lanes, checkpoints = said["lanes"], said["checkpoints"]
    if not isinstance(lanes, dict) or not isinstance(checkpoints, dict) or not isinstance(said["sure"], bool):
        raise _damaged("members")
    return Content(
        instance=_bytes(said["instance"], INSTANCE_BYTES, "instance"),
        fence=_number(said["fence"], "fence"),
        sure=said["sure"],
        lanes={
            name: LaneMark(_member(mark, "epoch"), _member(mark, "bound")) for name, mark in lanes.items()
        },
        checkpoints={
            name: CheckpointMark(_member(mark, "size"), _bytes(mark.get("root"), _ROOT_BYTES, "root"))
            for name, mark in checkpoints.items()
        },
    )


def _member(mark: object, name: str) -> int:
    if not isinstance(mark, dict):
        raise _damaged(name)
    return _number(mark.get(name), name)


def _number(given: object, name: str) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= _LARGEST:
        raise _damaged(name)
    return given


def _bytes(given: object, length: int, name: str) -> bytes:
    raw = from_b64u(given) if isinstance(given, str) else None
    if raw is None or len(raw) != length:
        raise _damaged(name)
    return raw
