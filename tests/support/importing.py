"""Registries for imports: one in memory that gives the same results as the real one, and a real one."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from registry.clock import Clock, SystemClock
from registry.errors import ExistsError, HazlinkError, NotResponsibleError, UnavailableError
from registry.identifier import Identifier, Prefix
from registry.principal import Grant, Principal, Role
from registry.record import Draft
from registry.results import Done, IfPresent, Result
from registry.service import Registry
from registry.storage.engine import Database, metadata
from registry.template import TemplateCatalogue, load_templates
from registry.trust.keys import Signer
from registry.value import Value
from tests.support.trust import a_signer

EDITOR = Principal("editor@88.107.1001", frozenset({Grant(Prefix("88.107.1001"), Role.EDITOR)}))


@dataclass
class MemoryRegistrar:
    """Implements `registry.importing.service.Registrar`; `breaks_before` makes a batch fail like a lost database."""

    templates: TemplateCatalogue = field(default_factory=load_templates)
    records: dict[str, tuple[str, tuple[Value, ...]]] = field(default_factory=dict)
    calls: int = 0
    breaks_before: int | None = None
    breaks_after: int | None = None

    def register_many(
        self, principal: Principal, drafts: Sequence[Draft], *, if_present: IfPresent, dry_run: bool = False
    ) -> list[Result]:
        self.calls += 1
        if self.calls == self.breaks_before:
            raise UnavailableError("registry.storage.unavailable", reason="test")
        results = [self._one(draft, if_present, dry_run=dry_run) for draft in drafts]
        if self.calls == self.breaks_after:
            raise KeyboardInterrupt
        return results

    def _one(self, draft: Draft, if_present: IfPresent, *, dry_run: bool) -> Result:
        try:
            identifier = Identifier.parse_new(draft.identifier, field="identifier")
            made = self.templates.apply(draft, identifier)
        except HazlinkError as error:
            return Result(draft.identifier, Done.REFUSED, error=error)
        old = self.records.get(identifier.key)
        if old == made:
            return Result(draft.identifier, Done.UNCHANGED, version=1)
        if old is not None and if_present is IfPresent.CONFIRM:
            error = ExistsError("registry.servicer.internal", field="identifier")
            return Result(draft.identifier, Done.REFUSED, error=error)
        if not dry_run:
            self.records[identifier.key] = made
        return Result(draft.identifier, Done.CHANGED if old else Done.CREATED, version=1)


class OneKey:
    """Homes the given prefixes under one signing key; implements `registry.ports.Signers`."""

    def __init__(self, *prefixes: str) -> None:
        self._signer = a_signer("import")
        self._homed = frozenset(map(Prefix, prefixes))

    def homes(self, prefix: Prefix) -> bool:
        return prefix in self._homed

    def home_of(self, prefix: Prefix) -> Prefix | None:
        return prefix if prefix in self._homed else None

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        if prefix not in self._homed:
            raise NotResponsibleError("registry.storage.unavailable", reason=prefix.key)
        return self._signer, prefix


def a_registry(path: Path, *, clock: Clock | None = None) -> tuple[Registry, Database]:
    """A real registry over the SQLite file at `path`, made when missing; it homes 88.107.1001."""
    database = Database(f"sqlite:///{path}")
    metadata.create_all(database.engine)
    registry = Registry(
        database=database,
        signers=OneKey("88.107.1001"),
        templates=load_templates(),
        clock=clock or SystemClock(),
        salts=secrets.token_bytes,
    )
    return registry, database
