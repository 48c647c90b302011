"""The unit of work over the tables of prefixes and joining.

Every change raises one revision number, so that another process (a command on the data folder, a second
instance) sees with one small query that its picture of the homed prefixes is old.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from registry.delegation import AuditLine, Delegation, Home, Invitation, JoinRequest, RequestState
from registry.errors import UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.storage.prefix_rows import (
    audit,
    delegation_row,
    delegations,
    dump,
    home_row,
    homes,
    inherited,
    invitation_row,
    invitations,
    marks,
    nonces,
    request_row,
    requests,
    revisions,
    roots,
    to_audit_line,
    to_delegation,
    to_home,
    to_invitation,
    to_request,
)
from registry.storage.prefix_trust import TrustUnit
from registry.trust.marks import Act, Mark, advances, replaces

__all__ = ["PrefixStore", "PrefixUnit", "StoredMarks"]


class PrefixUnit:
    """One unit of work over the tables of prefixes; all of it commits together or not at all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def trust(self) -> TrustUnit:
        """Revocations, and the keys that prefixes had."""
        return TrustUnit(self._connection)

    def touch(self) -> None:
        """Tell other processes that their picture is old."""
        self._touch()

    def lock(self) -> None:
        """Wait until no other writer is at work on prefixes: what is read from here on is what is changed.

        SQLite has one writer anyway; elsewhere two operators must not sign two statements of one version.
        """
        query = select(revisions.c.revision).with_for_update()
        if self._connection.execute(query).first() is not None:
            return
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(revisions).values(id=1, revision=0))
        except IntegrityError:
            self.lock()

    def revision(self) -> int:
        """Return the number that grows with every change of homes, delegations or roots."""
        found = self._connection.execute(select(revisions.c.revision)).scalar()
        return int(found) if found is not None else 0

    def roots(self) -> list[str]:
        """Return the root documents, oldest version first."""
        return list(self._connection.scalars(select(roots.c.text).order_by(roots.c.version)))

    def add_root(self, version: int, text: str) -> None:
        """Store one more version of the root document."""
        self._connection.execute(insert(roots).values(version=version, text=text))
        self._touch()

    def homes(self) -> list[Home]:
        """Return every homed or asked-for prefix."""
        return [to_home(row) for row in self._rows(select(homes).order_by(homes.c.prefix))]

    def home(self, prefix: Prefix) -> Home | None:
        """Return one homed prefix."""
        row = self._row(select(homes).where(homes.c.prefix == prefix.key))
        return to_home(row) if row else None

    def put_home(self, home: Home) -> None:
        """Store a homed prefix, replacing what stood there."""
        self._put(homes, {"prefix": home.prefix.key}, home_row(home))
        self._touch()

    def delegations(self, parent: Prefix | None = None) -> list[Delegation]:
        """Return the delegations made here, all or those of one parent."""
        query = select(delegations).order_by(delegations.c.prefix)
        if parent is not None:
            query = query.where(delegations.c.parent == parent.key)
        return [to_delegation(row) for row in self._rows(query)]

    def delegation(self, prefix: Prefix) -> Delegation | None:
        """Return the delegation of one prefix."""
        row = self._row(select(delegations).where(delegations.c.prefix == prefix.key))
        return to_delegation(row) if row else None

    def unpublished(self) -> list[Delegation]:
        """Return the delegations whose `0.NA` record does not carry the newest statement yet."""
        query = select(delegations).where(delegations.c.published.is_(False)).order_by(delegations.c.prefix)
        return [to_delegation(row) for row in self._rows(query)]

    def put_delegation(self, delegation: Delegation) -> None:
        """Store a delegation, replacing what stood there."""
        self._put(delegations, {"prefix": delegation.prefix.key}, delegation_row(delegation))
        self._touch()

    def mark_published(self, prefix: Prefix, version: int) -> None:
        """Note that the record carries this version; a newer version written meanwhile stays unpublished."""
        self._connection.execute(
            update(delegations)
            .where(delegations.c.prefix == prefix.key, delegations.c.version == version)
            .values(published=True)
        )

    def add_invitation(self, invitation: Invitation) -> None:
        """Store a new invitation."""
        self._connection.execute(insert(invitations).values(**invitation_row(invitation)))

    def invitation(self, digest: str) -> Invitation | None:
        """Return the invitation with this keyed hash."""
        row = self._row(select(invitations).where(invitations.c.digest == digest))
        return to_invitation(row) if row else None

    def use_invitation(self, digest: str, kid: str, at: int) -> bool:
        """Use an invitation up; False when somebody else was first."""
        done = self._connection.execute(
            update(invitations)
            .where(invitations.c.digest == digest, invitations.c.used_at.is_(None))
            .values(used_at=at, used_kid=kid)
        )
        return done.rowcount == 1

    def use_nonce(self, digest: str, expires_at: int, now: int) -> bool:
        """Use a nonce up; False when it was used before. Expired ones are forgotten on the way."""
        self._connection.execute(delete(nonces).where(nonces.c.expires_at < now))
        if self._row(select(nonces).where(nonces.c.digest == digest)):
            return False
        self._connection.execute(insert(nonces).values(digest=digest, expires_at=expires_at))
        return True

    def requests(self, parent: Prefix, *, state: RequestState | None = None) -> list[JoinRequest]:
        """Return the requests under a parent, oldest first."""
        query = select(requests).where(requests.c.parent == parent.key)
        if state is not None:
            query = query.where(requests.c.state == state.value)
        return [to_request(row) for row in self._rows(query.order_by(requests.c.requested_at))]

    def count_pending(self, parent: Prefix) -> int:
        """Return how many requests wait under a parent."""
        query = (
            select(func.count())
            .select_from(requests)
            .where(requests.c.parent == parent.key, requests.c.state == RequestState.PENDING.value)
        )
        return int(self._connection.execute(query).scalar_one())

    def request(self, ticket: str) -> JoinRequest | None:
        """Return the request with this ticket."""
        row = self._row(select(requests).where(requests.c.ticket == ticket))
        return to_request(row) if row else None

    def pending_request(self, prefix: Prefix) -> JoinRequest | None:
        """Return the request that waits for a prefix."""
        row = self._row(
            select(requests).where(
                requests.c.prefix == prefix.key, requests.c.state == RequestState.PENDING.value
            )
        )
        return to_request(row) if row else None

    def put_request(self, request: JoinRequest) -> None:
        """Store a request, replacing what stood there."""
        self._put(requests, {"ticket": request.ticket}, request_row(request))

    def add_audit(
        self, prefix: Prefix, *, at: int, who: str, action: str, detail: Mapping[str, object]
    ) -> None:
        """Append one line to the trail."""
        self._connection.execute(
            insert(audit).values(prefix=prefix.key, at=at, who=who, action=action, detail=dump(dict(detail)))
        )

    def audit(self, prefix: Prefix, *, after: int = 0, limit: int = 100) -> list[AuditLine]:
        """Return the trail of one prefix, oldest first."""
        query = (
            select(audit)
            .where(audit.c.prefix == prefix.key, audit.c.number > after)
            .order_by(audit.c.number)
            .limit(limit)
        )
        return [to_audit_line(row) for row in self._rows(query)]

    def last_audit(self, prefix: Prefix, action: str) -> AuditLine | None:
        """Return the newest line of the trail that tells of `action`."""
        query = select(audit).where(audit.c.prefix == prefix.key, audit.c.action == action)
        row = self._row(query.order_by(audit.c.number.desc()).limit(1))
        return to_audit_line(row) if row else None

    def forget_inherited(self, prefix: Prefix) -> None:
        """Drop the trail taken over for a prefix, before it is stored anew."""
        self._connection.execute(delete(inherited).where(inherited.c.prefix == prefix.key))

    def add_inherited(self, prefix: Prefix, first: int, lines: Sequence[tuple[str, str]]) -> None:
        """Store lines of a trail taken over with a prefix: what each is about, and the line as received."""
        rows = [
            {"prefix": prefix.key, "number": number, "subject": subject, "line": line}
            for number, (subject, line) in enumerate(lines, first)
        ]
        if rows:
            self._connection.execute(insert(inherited), rows)

    def inherited(self, prefix: Prefix, subject: str) -> list[str]:
        """Return the lines about one subject, oldest first."""
        query = select(inherited.c.line).where(
            inherited.c.prefix == prefix.key, inherited.c.subject == subject
        )
        return list(self._connection.scalars(query.order_by(inherited.c.number)))

    def _touch(self) -> None:
        self._connection.execute(update(revisions).values(revision=revisions.c.revision + 1))

    def _put(self, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        where = [table.c[name] == value for name, value in key.items()]
        if self._connection.execute(update(table).where(*where).values(**values)).rowcount == 0:
            self._connection.execute(insert(table).values(**key, **values))

    def _rows(self, query: Any) -> Sequence[RowMapping]:
        return self._connection.execute(query).mappings().all()

    def _row(self, query: Any) -> RowMapping | None:
        return self._connection.execute(query).mappings().first()


class PrefixStore:
    """Opens units of work; see `Database` for consistency, durability and errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @contextmanager
    def read(self) -> Iterator[PrefixUnit]:
        """Open a read-only snapshot."""
        with self._database.read() as connection:
            yield PrefixUnit(connection)

    @contextmanager
    def write(self) -> Iterator[PrefixUnit]:
        """Open a transaction that commits at its end or leaves nothing; writers take turns."""
        with self._database.write() as connection:
            unit = PrefixUnit(connection)
            unit.lock()
            yield unit


class StoredMarks:
    """The newest statement seen about each prefix, kept in the database before it is used; implements `Marks`.

    Consistency: serialised by the database. Durability: as `Database`. Concurrency: any number of threads and
    processes. Errors: UntrustedError as `registry.trust.marks.advances` decides; UnavailableError when the mark
    cannot be stored, and then the statement is not used.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def raise_to(self, issuer: str, subject: str, ver: int, sha256: str, act: Act | None = None) -> None:
        """Remember that this statement was seen; forget the marks under a subject whose keys were all replaced.

        Raises:
            UntrustedError: another superior, a version seen before, or one version with two contents; or the key
                that signed was revoked.
            UnavailableError: the database cannot be written.
        """
        seen = Mark(issuer, subject, ver, sha256)
        with self._database.read() as connection:
            if act is not None:
                _require_unrevoked(connection, issuer, act)
            newer = advances(_mark(connection, subject), seen)
            if not newer and (act is None or TrustUnit(connection).mark_keys(subject) is not None):
                return
        with self._database.write() as connection:
            _raise(connection, seen)
            if act is not None:
                _note_keys(connection, seen, act)

    def reset(self, issuer: str) -> None:
        """Forget the marks under an issuer whose signing keys its superior has all replaced."""
        with self._database.write() as connection:
            _reset(connection, issuer)


def _raise(connection: Connection, seen: Mark) -> None:
    """Store a mark unless it stands already; its row stays locked."""
    known = _mark(connection, seen.subject, lock=True)
    newer = advances(known, seen)
    row = {"issuer": seen.issuer, "version": seen.ver, "sha256": seen.sha256}
    here = update(marks).where(marks.c.subject == seen.subject).values(**row)
    if newer and known is not None:
        connection.execute(here)
    elif newer:
        try:
            with connection.begin_nested():
                connection.execute(insert(marks).values(subject=seen.subject, **row))
        except IntegrityError:
            # Somebody else saw the subject for the first time in this very moment.
            if advances(_mark(connection, seen.subject, lock=True), seen):
                connection.execute(here)


def _note_keys(connection: Connection, seen: Mark, act: Act) -> None:
    """Remember which keys sign for the subject; where none of the known ones is left, its own marks begin anew."""
    unit = TrustUnit(connection)
    known = unit.mark_keys(seen.subject)
    if known is not None and replaces(known, act):
        _reset(connection, seen.subject)
    if known != act.keys:
        unit.put_mark_keys(seen.subject, seen.ver, sorted(act.keys))


def _reset(connection: Connection, issuer: str) -> None:
    connection.execute(delete(marks).where(marks.c.issuer == issuer))
    TrustUnit(connection).forget_versions(issuer)


def _require_unrevoked(connection: Connection, issuer: str, act: Act) -> None:
    entry = TrustUnit(connection).against(issuer, act)
    if entry is not None:
        raise UntrustedError(
            "registry.trust.key_revoked", field="kid", kid=act.kid, subject=issuer, at=entry.revoked_at
        )


def _mark(connection: Connection, subject: str, *, lock: bool = False) -> Mark | None:
    query = select(marks.c.issuer, marks.c.subject, marks.c.version, marks.c.sha256)
    query = query.where(marks.c.subject == subject)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return Mark(*row) if row else None
