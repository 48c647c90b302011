"""Checking a whole log: every leaf, tile, checkpoint and row that refers to it, and the mark outside the database.

Nothing is changed and nothing is believed: each hash is made again from its leaf. Memory stays small at
any size.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from federation.log.checkpoint import open_checkpoint
from federation.log.leaf import Leaf
from federation.log.merkle import HASH_BYTES, CompactRange, leaf_hash, root
from federation.log.note import parse_vkey
from federation.log.storage import LogRow, LogUnit, StoredCheckpoint
from federation.log.tiles import WIDTH, width_at
from federation.log.writer import CheckpointMarks
from registry.errors import HazlinkError
from registry.language import Language, text
from registry.storage.engine import Database

__all__ = ["Finding", "FsckReport", "Reference", "fsck"]

_CHUNK = 16 * WIDTH
_CHECKPOINTS = 1_000
_MAX_FINDINGS = 1_000
_ROWS = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be.

    Attributes:
        what: name of the text in the catalogue, below `federation.log.`.
        where: `leaf 17`, `tile/1/0`, `checkpoint 600`, …
        detail: what was found.
    """

    what: str
    where: str
    detail: str = ""

    def message(self, language: Language = "en") -> str:
        """Return the finding as text."""
        return text(f"federation.log.{self.what}", language, where=self.where, detail=self.detail)


@dataclass(frozen=True, slots=True)
class Reference:
    """A database row that says which leaf is about it.

    Attributes:
        where: which row, for a person: `exchange_in 88.107.1001 register 1/17`.
        position: of the leaf.
        kind: of the leaf: `in`, `out`, `ack`, ….
        env: base64url hash of the envelope.
    """

    where: str
    position: int
    kind: str
    env: str


@dataclass(slots=True)
class FsckReport:
    """What was checked and found.

    Attributes:
        leaves, tiles, checkpoints, references: how many were looked at.
        findings: at most 1,000; `truncated` when there were more.
    """

    leaves: int = 0
    tiles: int = 0
    checkpoints: int = 0
    references: int = 0
    findings: list[Finding] = field(default_factory=list)
    truncated: bool = False

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def found(self, what: str, where: str, detail: object = "") -> None:
        """Add a finding."""
        if len(self.findings) < _MAX_FINDINGS:
            self.findings.append(Finding(what, where, str(detail)))
        else:
            self.truncated = True


def fsck(
    database: Database,
    *,
    marks: CheckpointMarks | None = None,
    references: Iterable[Reference] = (),
    missing: Iterable[str] = (),
    strict_leaves: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> FsckReport:
    """Check the log.

    Args:
        database: where the log is.
        marks: the memory outside the database, where it is at hand.
        references: rows of the exchange that name leaves.
        missing: rows of the exchange that must be there and are not, as a person calls them.
        strict_leaves: whether every leaf must read as one.
        progress: told how many leaves of how many are checked.

    Raises:
        UnavailableError: the database cannot be read.
    """
    report = FsckReport()
    with database.read() as connection:
        unit = LogUnit(connection)
        logs = unit.logs()
        newest = logs[-1].number if logs else unit.number
        size = unit.size()
        for row in logs or [LogRow(newest, "", "", "", "open", 0, 0)]:
            own = LogUnit(connection, row.number)
            _Check(own, row, report, strict_leaves, progress).run(size if row.number == newest else own.end())
        if marks is not None and logs and logs[-1].state == "open":
            _check_mark(unit, marks, logs[-1], report)
        for some in _pieces(references):
            _check_references(unit, some, report)
    for where in missing:
        report.found("fsck_gap", where)
    return report


class _Check:
    """One walk over one log, from the first leaf to the last."""

    def __init__(
        self,
        unit: LogUnit,
        row: LogRow,
        report: FsckReport,
        strict_leaves: bool,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._unit = unit
        self._row = row
        self._report = report
        self._strict = strict_leaves
        self._progress = progress
        self._tree = CompactRange()
        # the hashes of the tile being filled, for each level
        self._open: list[list[bytes]] = []
        self._counts: list[int] = []
        self._tiled = unit.tiled()
        self._checkpoints = self._each_checkpoint()
        self._awaited = next(self._checkpoints, None)

    def run(self, size: int) -> None:
        """Walk."""
        end = self._unit.end()
        if end != size:
            self._report.found("fsck_counter", "counter", f"{size} / {end}")
        newest = self._unit.newest()
        if newest is not None and newest.size > self._tiled:
            self._report.found("fsck_short", f"checkpoint {newest.size}", self._tiled)
        self._match_checkpoints()
        while self._tree.size < max(end, size):
            if not self._walk(self._tree.size, min(_CHUNK, max(end, size) - self._tree.size)):
                break
            if self._progress is not None:
                self._progress(self._tree.size, size)
        while self._awaited is not None:
            self._report.checkpoints += 1
            self._report.found("fsck_beyond", f"checkpoint {self._awaited.size}", self._tree.size)
            self._awaited = next(self._checkpoints, None)
        if self._tiled > self._tree.size:
            self._report.found("fsck_beyond", f"tile/0/{self._tiled // WIDTH}", self._tree.size)
        self._edges()
        self._strays()

    def _walk(self, first: int, count: int) -> bool:
        rows = self._unit.numbered(first, count)
        self._report.leaves += len(rows)
        for position, leaf in rows:
            if position != self._tree.size:
                self._report.found("fsck_gap", f"leaf {self._tree.size}", position)
                return False
            if self._strict:
                self._read(position, leaf)
            self._add(leaf_hash(leaf))
            self._match_checkpoints()
        if len(rows) != count:
            self._report.found("fsck_gap", f"leaf {self._tree.size}")
            return False
        return True

    def _read(self, position: int, leaf: bytes) -> None:
        try:
            Leaf.decode(leaf)
        except HazlinkError as error:
            self._report.found("fsck_leaf", f"leaf {position}", error)

    def _add(self, made: bytes) -> None:
        self._tree.add(made)
        level = 0
        while True:
            if level == len(self._open):
                self._open.append([])
                self._counts.append(0)
            row = self._open[level]
            row.append(made)
            if len(row) < WIDTH:
                return
            self._compare(level, self._counts[level], row)
            self._counts[level] += 1
            made = root(row)
            self._open[level] = []
            level += 1

    def _edges(self) -> None:
        """Compare the tiles that are not full."""
        for level, row in enumerate(self._open):
            if row:
                self._compare(level, self._counts[level], row)

    def _compare(self, level: int, number: int, row: list[bytes]) -> None:
        width = width_at(self._tiled, level, number)
        (held,) = self._unit.tiles([(level, number)])
        self._report.tiles += bool(held)
        if held != b"".join(row[:width]):
            self._report.found("fsck_tile", f"tile/{level}/{number}", len(held) // HASH_BYTES)

    def _strays(self) -> None:
        """Find tiles where no tree of this size has one."""
        for tile in self._unit.every_tile():
            if not width_at(self._tiled, tile.level, tile.number):
                self._report.found("fsck_stray", f"tile/{tile.level}/{tile.number}")

    def _each_checkpoint(self) -> Iterator[StoredCheckpoint]:
        after = -1
        while some := self._unit.checkpoints(after, _CHECKPOINTS):
            yield from some
            after = some[-1].size

    def _match_checkpoints(self) -> None:
        while self._awaited is not None and self._awaited.size == self._tree.size:
            self._report.checkpoints += 1
            self._match(self._awaited)
            self._awaited = next(self._checkpoints, None)

    def _match(self, stored: StoredCheckpoint) -> None:
        where = f"checkpoint {stored.size}"
        try:
            told = open_checkpoint(stored.note, parse_vkey(self._row.vkey)).checkpoint
        except HazlinkError as error:
            self._report.found("fsck_note", where, error)
            return
        right = (self._row.origin, stored.size, self._tree.root())
        if (told.origin, told.size, told.root) != right or stored.root != told.root:
            self._report.found("fsck_root", where)


def _check_mark(unit: LogUnit, marks: CheckpointMarks, row: LogRow, report: FsckReport) -> None:
    mark, newest = marks.checkpoint(row.origin), unit.newest()
    if mark is None:
        if newest is not None:
            report.found("fsck_no_mark", row.origin)
        return
    if newest is None or mark[0] > newest.size:
        # no more than a crash between mark and checkpoint, if the leaves are there
        if mark[0] > unit.size():
            report.found("fsck_behind", row.origin, f"{unit.size()} / {mark[0]}")
        return
    stored = unit.checkpoint(mark[0])
    if stored is not None and stored.root != mark[1]:
        report.found("fsck_mark", row.origin, mark[0])


def _pieces(references: Iterable[Reference]) -> Iterator[list[Reference]]:
    some: list[Reference] = []
    for reference in references:
        some.append(reference)
        if len(some) == _ROWS:
            yield some
            some = []
    if some:
        yield some


def _check_references(unit: LogUnit, some: Sequence[Reference], report: FsckReport) -> None:
    report.references += len(some)
    for reference in some:
        rows = unit.numbered(reference.position, 1)
        try:
            leaf = Leaf.decode(rows[0][1]) if rows else None
        except HazlinkError:
            leaf = None
        if leaf is None or (leaf.env, leaf.kind) != (reference.env, reference.kind):
            report.found("fsck_reference", reference.where, f"leaf {reference.position}")
