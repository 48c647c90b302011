"""Import of many records from a CSV, NDJSON or JSON file.

1. The file is looked at once (encoding, size, digest), then read row by row.
2. Rows become drafts; what cannot be read, or repeats an identifier of the file, is reported with its line.
3. Drafts are registered in batches, each one transaction; refused ones are reported, the rest goes on.
4. After each batch report and state are on the disk. A run that was killed goes on after the last finished batch; a
   run that is repeated finds everything unchanged. A dry run checks everything and stores nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from registry.errors import HazlinkError, MalformedError
from registry.identifier import fold
from registry.importing.reading import Row, read_rows
from registry.importing.report import Report
from registry.importing.rows import PlainRows, RowMapping
from registry.importing.state import Counts, State, forget_state, load_state, save_state
from registry.importing.survey import Survey, survey
from registry.principal import Principal
from registry.record import Draft
from registry.results import Done, IfPresent, Result

__all__ = ["ImportSummary", "Progress", "Registrar", "import_file"]

_LARGEST_BATCH = 2000


class Registrar(Protocol):
    """The part of the registry an import uses.

    Consistency and durability: a call that returned is committed, a call that raised left nothing. Concurrency: one
    call at a time. Errors: one result for each draft in order, refusals inside; UnavailableError when the database
    cannot be used.
    """

    def register_many(
        self, principal: Principal, drafts: Sequence[Draft], *, if_present: IfPresent, dry_run: bool = False
    ) -> list[Result]:
        """Register drafts, one result each."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it has come: the physical line of the file, of how many."""

    line: int
    lines: int
    rows: int
    refused: int
    warnings: int


@dataclass(frozen=True, slots=True)
class ImportSummary:
    """What came of it.

    Attributes:
        rows: rows of the file that hold something.
        resumed_after: rows an interrupted run had finished; their results are counted in.
        encoding: how the file was read; `guessed` when it was not UTF-8 and nobody had named it.
    """

    rows: int
    created: int
    changed: int
    unchanged: int
    refused: int
    warnings: int
    resumed_after: int
    encoding: str
    guessed: bool
    dry_run: bool


def import_file(
    registry: Registrar,
    principal: Principal,
    path: Path,
    *,
    dry_run: bool = False,
    report_path: Path | None = None,
    state_path: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    batch_size: int = 1000,
    if_present: IfPresent = IfPresent.CONFIRM,
    mapping: RowMapping | None = None,
    encoding: str | None = None,
) -> ImportSummary:
    """Import a file.

    Args:
        registry: where to register.
        principal: on whose behalf.
        path: a `.csv`, `.ndjson`, `.jsonl` or `.json` (array) file.
        dry_run: check everything, store nothing (and keep no state).
        report_path: where to write what was refused or remarked.
        state_path: where to keep how far it has come; without it a killed run starts again.
        on_progress: called after each batch.
        batch_size: rows in one transaction, at most 2,000.
        if_present: what to do with an identifier that has other content.
        mapping: how a row becomes a draft; by default it names identifier, kind and types itself.
        encoding: `utf-8` or `gb18030`; None looks for itself.

    Raises:
        HazlinkError: the file cannot be used at all, or the database not now; what was finished stays, and the
            next run goes on from there.
    """
    found = survey(path, encoding=encoding)
    rows = mapping or PlainRows()
    job = {"sha256": found.sha256, "encoding": found.encoding, "mapping": rows.key, "if": if_present.name}
    kept = None if dry_run else load_state(state_path, job)
    state = kept or State(job)
    done_before = state.counts.rows
    with (
        Report(report_path, keep_bytes=state.report_bytes) as report,
        closing(read_rows(path, found)) as source,
    ):
        run = _Run(
            registry=registry,
            principal=principal,
            rows=rows,
            report=report,
            counts=state.counts,
            if_present=if_present,
            dry_run=dry_run,
        )
        while batch := list(islice(source, min(batch_size, _LARGEST_BATCH))):
            run.take(batch, skip=max(0, done_before - run.seen))
            size = report.sync()
            if not dry_run and run.seen >= done_before:
                save_state(state_path, State(job, run.counts, size))
            if on_progress is not None:
                on_progress(_progress(run.counts, batch[-1].end, found))
    if not dry_run:
        forget_state(state_path)
    return _summary(run.counts, found, done_before, dry_run=dry_run)


def _progress(counts: Counts, line: int, found: Survey) -> Progress:
    return Progress(
        line=min(line, found.lines),
        lines=found.lines,
        rows=counts.rows,
        refused=counts.refused,
        warnings=counts.warnings,
    )


def _summary(counts: Counts, found: Survey, done_before: int, *, dry_run: bool) -> ImportSummary:
    return ImportSummary(
        rows=counts.rows,
        created=counts.created,
        changed=counts.changed,
        unchanged=counts.unchanged,
        refused=counts.refused,
        warnings=counts.warnings,
        resumed_after=done_before,
        encoding=found.encoding,
        guessed=found.guessed,
        dry_run=dry_run,
    )


class _Run:
    """One run over the rows; remembers identifiers, so that a repeated one is reported with its first line."""

    def __init__(
        self,
        *,
        registry: Registrar,
        principal: Principal,
        rows: RowMapping,
        report: Report,
        counts: Counts,
        if_present: IfPresent,
        dry_run: bool,
    ) -> None:
        self.counts = counts
        self.seen = 0
        self._registry = registry
        self._principal = principal
        self._rows = rows
        self._report = report
        self._if_present = if_present
        self._dry_run = dry_run
        self._line_of: dict[str, int] = {}

    def take(self, batch: Sequence[Row], *, skip: int) -> None:
        """Register a batch; of its first `skip` rows an earlier run has done everything but the remembering."""
        self.seen += len(batch)
        kept: list[tuple[int, Draft]] = []
        for position, (row, draft, errors) in enumerate(self._drafts(batch)):
            if position < skip:
                continue
            self.counts.rows += 1
            identifier = draft.identifier if draft else _identifier_of(row)
            for level, error in errors:
                self._note(row.line, identifier, level, error)
            if draft is not None:
                kept.append((row.line, draft))
        if kept:
            self._register(kept)

    def _drafts(
        self, batch: Sequence[Row]
    ) -> Iterator[tuple[Row, Draft | None, list[tuple[str, HazlinkError]]]]:
        for row in batch:
            if row.content is None:
                error = row.error or MalformedError("registry.importing.not_object")
                yield row, None, [("error", error)]
                continue
            try:
                mapped = self._rows.draft(row.content)
            except HazlinkError as error:
                yield row, None, [("error", error)]
                continue
            first = self._line_of.setdefault(fold_safely(mapped.draft.identifier), row.line)
            if first != row.line:
                repeated = MalformedError(
                    "registry.importing.duplicate",
                    field="identifier",
                    value=mapped.draft.identifier,
                    line=first,
                )
                yield row, None, [("error", repeated)]
                continue
            yield row, mapped.draft, [("warning", w) for w in mapped.warnings]

    def _register(self, kept: Sequence[tuple[int, Draft]]) -> None:
        results = self._registry.register_many(
            self._principal,
            [draft for _, draft in kept],
            if_present=self._if_present,
            dry_run=self._dry_run,
        )
        counts = self.counts
        for (line, draft), result in zip(kept, results, strict=True):
            match result.done:
                case Done.CREATED:
                    counts.created += 1
                case Done.CHANGED:
                    counts.changed += 1
                case Done.UNCHANGED:
                    counts.unchanged += 1
                case Done.REFUSED:
                    refusal = result.error or MalformedError("registry.importing.refused")
                    self._note(line, draft.identifier, "error", refusal)

    def _note(self, line: int, identifier: str, level: str, error: HazlinkError) -> None:
        if level == "error":
            self.counts.refused += 1
        else:
            self.counts.warnings += 1
        self._report.add(line, identifier, level, error)


def fold_safely(spelling: str) -> str:
    """Return the match key, also for a text that is no valid identifier."""
    return fold(spelling) if spelling.isascii() else fold(spelling.encode("utf-8", "replace").decode())


def _identifier_of(row: Row) -> str:
    given = row.content.get("identifier") if row.content else None
    return given if isinstance(given, str) else ""
