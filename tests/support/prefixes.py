"""Nodes with real keys, real tables and a real registry, for tests of prefixes and joining.

top = a_top(tmp_path, clock)                       # homes 88, has the root
park = a_node(tmp_path, "park", clock)             # homes nothing yet
joined(top, park, "88.107")                        # invited, asked, approved, learned: without HTTP
"""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import event

from registry.delegation import Contact, Home, Purpose
from registry.identifier import Identifier, Prefix
from registry.prefixes.homes import Homes
from registry.prefixes.invitations import InvitationLetter
from registry.prefixes.issuing import Terms
from registry.prefixes.service import Prefixes
from registry.principal import Grant, Principal, Role
from registry.record import GENERIC, Draft, Record
from registry.results import IfPresent
from registry.service import Registry
from registry.storage.engine import Database, metadata
from registry.storage.prefixes import PrefixStore, StoredMarks
from registry.template import load_templates
from registry.trust.chain import VerifiedChain, verify_chain
from registry.trust.keys import KeyFolder
from registry.trust.record_signature import RecordClaims, public_jws, restricted_jws, verify_record
from registry.value import PRIVATE, Value

__all__ = [
    "DAY",
    "HOUR",
    "NOW",
    "MovedClock",
    "TestNode",
    "a_node",
    "a_registry",
    "a_top",
    "admin_of",
    "ask",
    "invited",
    "joined",
    "operator_of",
    "url_of",
]

#: 2026-09-21T14:13:20Z
NOW = 1_790_000_000
HOUR = 3600
DAY = 24 * HOUR


class MovedClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


@dataclass
class TestNode:
    """One node: everything a wiring would make, over one SQLite file and one key folder."""

    __test__ = False

    name: str
    folder: Path
    clock: MovedClock
    database: Database
    store: PrefixStore
    keys: KeyFolder
    homes: Homes
    registry: Registry
    marks: StoredMarks
    prefixes: Prefixes

    def record(self, identifier: str) -> Record | None:
        return self.registry.records([Identifier.parse(identifier)])[0]

    def chain(self, prefix: str, *, now: float | None = None) -> VerifiedChain:
        """The chain this node shows for a prefix it homes, verified from its own anchor without memory."""
        anchor = self.prefixes.anchor()
        assert anchor is not None
        at = self.clock.now() if now is None else now
        return verify_chain(self.homes.chain(Prefix.parse(prefix)), anchor=anchor, now=at)

    def verified(self, identifier: str, chain: VerifiedChain) -> RecordClaims:
        """The record of an identifier as this node stores it, verified under a chain."""
        record = self.record(identifier)
        assert record is not None
        claims = verify_record(
            public_jws=public_jws(record),
            restricted_jws=restricted_jws(record),
            shown=record.values,
            chain=chain,
            identifier=record.identifier,
            now=self.clock.now(),
        )
        claims.require_match(record)
        return claims

    def register(self, identifier: str, text: str = "示例", *, private: str | None = None) -> None:
        values = [Value(index=1, type="DESC", data=text.encode())]
        if private is not None:
            values.append(Value(index=2, type="NOTE", data=private.encode()).seen_as(PRIVATE))
        who = admin_of(Identifier.parse(identifier).prefix.key)
        draft = Draft(identifier=identifier, kind=GENERIC, values=tuple(values))
        self.registry.register(who, draft, if_present=IfPresent.REPLACE)

    def reopened(self) -> "TestNode":
        """The same folder opened anew, as after a crash."""
        self.database.close()
        return _open(self.folder, self.name, self.clock, self.prefixes._office.terms)


def a_node(folder: Path, name: str, clock: MovedClock, *, terms: Terms | None = None) -> TestNode:
    place = folder / name
    place.mkdir()
    node = _open(place, name, clock, terms)
    metadata.create_all(node.database.engine)
    node.homes.refresh()
    return node


def _open(place: Path, name: str, clock: MovedClock, terms: Terms | None) -> TestNode:
    database = Database(url_of(place))
    # What survives a power cut is the engine's own test; here the disk would only make each test wait.
    event.listen(database.engine, "connect", lambda driver, _: driver.execute("PRAGMA synchronous=OFF"))
    store = PrefixStore(database)
    keys = KeyFolder(place / "keys")
    homes = Homes(store=store, keys=keys)
    registry = a_registry(database, homes, clock)
    marks = StoredMarks(database)
    prefixes = Prefixes(
        store=store,
        homes=homes,
        keys=keys,
        records=registry,
        marks=marks,
        clock=clock,
        entropy=os.urandom,
        secret=name.encode().ljust(32, b"."),
        terms=terms,
        allow_loopback=True,
    )
    return TestNode(name, place, clock, database, store, keys, homes, registry, marks, prefixes)


def a_registry(database: Database, homes: Homes, clock: MovedClock) -> Registry:
    return Registry(
        database=database, signers=homes, templates=load_templates(), clock=clock, salts=os.urandom
    )


def url_of(place: Path) -> str:
    return f"sqlite:///{place / 'hazlink.db'}"


def a_top(folder: Path, clock: MovedClock, *, terms: Terms | None = None, prefix: str = "88") -> TestNode:
    node = a_node(folder, "top", clock, terms=terms)
    node.prefixes.init_root(
        Prefix.parse(prefix), endpoints={"resolve": ["https://top.example"]}, who="installer"
    )
    return node


def operator_of(prefix: str) -> Principal:
    return _somebody("operator", prefix, Role.OPERATOR)


def admin_of(prefix: str) -> Principal:
    return _somebody("admin", prefix, Role.ADMIN)


def _somebody(name: str, prefix: str, role: Role) -> Principal:
    return Principal(name=f"{name}@{prefix}", grants=frozenset({Grant(Prefix.parse(prefix), role)}))


def invited(
    superior: TestNode,
    prefix: str | None,
    *,
    parent: str,
    purpose: Purpose = Purpose.JOIN,
    ttl_seconds: int | None = None,
) -> InvitationLetter:
    return superior.prefixes.invite(
        operator_of(parent),
        Prefix.parse(parent),
        Prefix.parse(prefix) if prefix else None,
        urls=(f"https://{superior.name}.example",),
        purpose=purpose,
        ttl_seconds=ttl_seconds,
    )


def ask(superior: TestNode, guest: TestNode, prefix: str, *, purpose: Purpose = Purpose.JOIN) -> Home:
    """Everything up to the pending request, by direct calls in place of HTTP."""
    wanted = Prefix.parse(prefix)
    assert wanted.parent is not None
    letter = invited(superior, prefix, parent=wanted.parent.key, purpose=purpose)
    home = guest.prefixes.joining.begin(letter, None, who="installer")
    application = guest.prefixes.joining.application(
        home,
        secret=letter.secret,
        nonce=superior.prefixes.challenge(),
        endpoints={"resolve": [f"https://{guest.name}.example"]},
        who=Contact(name="示例化工有限公司", contact="13000000000"),
    )
    return guest.prefixes.joining.learn(wanted, superior.prefixes.submit(application))


def joined(superior: TestNode, guest: TestNode, prefix: str, *, purpose: Purpose = Purpose.JOIN) -> Home:
    """The whole way to an active prefix."""
    wanted = Prefix.parse(prefix)
    assert wanted.parent is not None
    ask(superior, guest, prefix, purpose=purpose)
    superior.prefixes.approve(operator_of(wanted.parent.key), wanted)
    return guest.prefixes.joining.learn(wanted, superior.prefixes.delegated(wanted))
