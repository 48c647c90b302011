"""From the pinned root down to a prefix: whether a chain of statements holds.

Rules (facts on federation, (a)):

1. at most eight statements, leaf first; each issuer is the next one's subject, the last issuer is the root;
   no subject twice; all this before the first signature is looked at;
2. then from the root down: the superior is active and may have a tier below; the statement is signed by a signing
   key of the superior, within the life of that key; the subject lies below the issuer, label by label; and every
   right is the superior's too: names, operations, algorithms, expiry, tiers below. A wider child kills the chain,
   it is never clipped to size;
3. one key serves one use in the whole chain;
4. the mark of (issuer, subject) is raised, before anything is used and also when the statement has expired; where
   marks are kept it is known too which keys were revoked, and a statement that rests on one is refused there;
5. at last time: now in [nbf - 300 s, exp] for every statement, and the root is fresh.

A leaf that is suspended or revoked still makes a chain, one that covers nothing: its holder must be able to read it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from registry.errors import UntrustedError
from registry.identifier import Identifier, Prefix
from registry.trust import jws
from registry.trust.algorithms import PublicKey
from registry.trust.encoding import b64u
from registry.trust.marks import Act, Mark, Marks, MemoryMarks, advances
from registry.trust.rights import Permission, Right, covering, granted
from registry.trust.root import Anchor
from registry.trust.statement import LEEWAY_SECONDS, ROOT_NAME, Statement, StatementKey, read

__all__ = [
    "MAX_LENGTH",
    "Act",
    "Mark",
    "Marks",
    "MemoryMarks",
    "VerifiedChain",
    "advances",
    "chain_sha256",
    "extend",
    "verify_chain",
]

MAX_LENGTH = 8


def chain_sha256(tokens: Iterable[str]) -> str:
    """Return the name of a chain: base64url SHA-256 of its statements joined by LF, leaf first."""
    return b64u(hashlib.sha256("\n".join(tokens).encode()).digest())


@dataclass(frozen=True, slots=True)
class VerifiedChain:
    """A chain that held at one instant; made by `verify_chain` and `extend` alone.

    Attributes:
        statements: leaf first.
        anchor: what it hangs on.
        expires: POSIX seconds until which it may be used: the earliest end in it, the root's included.
        sha256: its name.
    """

    statements: tuple[Statement, ...]
    anchor: Anchor
    expires: int
    sha256: str
    _keys: dict[str, tuple[StatementKey, PublicKey]] = field(repr=False, compare=False, hash=False)

    @property
    def tokens(self) -> tuple[str, ...]:
        """The statements as received, leaf first."""
        return tuple(statement.token for statement in self.statements)

    @property
    def leaf(self) -> Statement:
        """The statement about `subject`."""
        return self.statements[0]

    @property
    def subject(self) -> Prefix:
        """The prefix the chain vouches for."""
        return self.statements[0].subject

    def signing_key(self, kid: str, at: float) -> PublicKey:
        """Return the key of the subject that may have signed something at the time `at`; historical ones too.

        Raises:
            UntrustedError: the subject has no such signing key, or `at` is outside its life.
        """
        found = self._keys.get(kid)
        if found is None:
            raise UntrustedError(
                "registry.trust.kid_unknown", field="kid", value=kid[:64], subject=self.subject.key
            )
        row, key = found
        if not row.good_at(at):
            raise UntrustedError(
                "registry.trust.key_not_in_use", field="kid", value=kid, subject=self.subject.key, at=int(at)
            )
        return key

    def covers(self, identifier: Identifier, operation: str = "register") -> bool:
        """Say whether the subject may do `operation` on `identifier`; False for whom is suspended or revoked."""
        return covering(identifier, operation, self.leaf.perms)

    def allows(self, operation: str) -> bool:
        """Say whether the subject may do `operation` on anything."""
        return any(operation in right.operations for right in self.leaf.perms)

    def require_active(self) -> None:
        """Refuse when the subject is suspended or revoked.

        Raises:
            UntrustedError: it is.
        """
        if self.leaf.state != "active":
            raise _inactive(self.leaf)

    def require_fresh(self, now: float) -> None:
        """Refuse when a part of the chain is no longer, or not yet, good; for a chain that was kept.

        Raises:
            UntrustedError: a statement or the root has expired, or is not good yet.
        """
        self.anchor.root.require_fresh(now)
        for statement in reversed(self.statements):
            _require_time(statement, now)


@dataclass(frozen=True, slots=True)
class _Above:
    """What a statement is held against: the root, or the verified chain of its issuer."""

    name: str
    algs: tuple[str, ...]
    exp: int
    max_path: int
    rights: tuple[Right, ...] | None
    statements: tuple[Statement, ...]


def verify_chain(
    tokens: Sequence[str], *, anchor: Anchor, now: float, marks: Marks | None = None
) -> VerifiedChain:
    """Verify a chain as received.

    Args:
        tokens: statements, leaf first.
        anchor: the pinned root.
        now: POSIX seconds; for stored evidence the time it was received at.
        marks: where the newest versions are kept; None for evidence that is checked without a memory.

    Raises:
        UntrustedError: a rule of this module is broken; the code names it, the parameters say where.
        UnavailableError: a mark cannot be stored.
    """
    statements = _read_linked(tokens)
    chain: tuple[Statement, ...] = ()
    for statement in reversed(statements):
        _hold(_above(anchor, chain), statement, anchor)
        if marks is not None:
            _remember(marks, statement)
        chain = (statement, *chain)
    return _verified(chain, anchor, now)


def extend(
    parent: VerifiedChain | Anchor, token: str, *, now: float, marks: Marks | None = None
) -> VerifiedChain:
    """Verify one more statement under a chain that held, or the first one under the root.

    Raises:
        UntrustedError: as `verify_chain`.
        UnavailableError: a mark cannot be stored.
    """
    anchor, chain = (parent, ()) if isinstance(parent, Anchor) else (parent.anchor, parent.statements)
    if len(chain) >= MAX_LENGTH:
        raise UntrustedError(
            "registry.trust.chain_long", field="chain", length=len(chain) + 1, limit=MAX_LENGTH
        )
    statement = read(token)
    if any(statement.subject == other.subject for other in chain):
        raise _loop(statement)
    above = _above(anchor, chain)
    _check_link(statement, above.name)
    _hold(above, statement, anchor)
    if marks is not None:
        _remember(marks, statement)
    return _verified((statement, *chain), anchor, now)


def _remember(marks: Marks, statement: Statement) -> None:
    marks.raise_to(
        statement.issuer_name,
        statement.subject.key,
        statement.ver,
        statement.sha256,
        Act(
            kid=statement.kid,
            iat=statement.iat,
            keys=statement.signing_kids,
            listed=frozenset(key.kid for key in statement.keys if key.use == "sig"),
        ),
    )


def _verified(statements: tuple[Statement, ...], anchor: Anchor, now: float) -> VerifiedChain:
    chain = VerifiedChain(
        statements=statements,
        anchor=anchor,
        expires=min(anchor.root.exp, *(statement.exp for statement in statements)),
        sha256=chain_sha256(statement.token for statement in statements),
        _keys={key.kid: (key, key.public) for key in statements[0].keys if key.use == "sig"},
    )
    chain.require_fresh(now)
    return chain


def _read_linked(tokens: Sequence[str]) -> tuple[Statement, ...]:
    if not tokens:
        raise UntrustedError("registry.trust.chain_empty", field="chain")
    if len(tokens) > MAX_LENGTH:
        raise UntrustedError("registry.trust.chain_long", field="chain", length=len(tokens), limit=MAX_LENGTH)
    statements = tuple(read(token) for token in tokens)
    seen: set[Prefix] = set()
    for statement in statements:
        if statement.subject in seen:
            raise _loop(statement)
        seen.add(statement.subject)
    above = [statement.subject.key for statement in statements[1:]] + [ROOT_NAME]
    for statement, name in zip(statements, above, strict=True):
        _check_link(statement, name)
    return statements


def _loop(statement: Statement) -> UntrustedError:
    return UntrustedError("registry.trust.chain_loop", field="chain", subject=statement.subject.key)


def _check_link(statement: Statement, above: str) -> None:
    if statement.issuer_name != above:
        raise UntrustedError(
            "registry.trust.chain_broken",
            field="iss",
            subject=statement.subject.key,
            value=statement.issuer_name,
            right=above,
        )


def _above(anchor: Anchor, chain: tuple[Statement, ...]) -> _Above:
    if not chain:
        root = anchor.root
        return _Above(
            name=ROOT_NAME, algs=root.algs, exp=root.exp, max_path=MAX_LENGTH, rights=None, statements=()
        )
    leaf = chain[0]
    return _Above(
        name=leaf.subject.key,
        algs=leaf.algs,
        exp=leaf.exp,
        max_path=leaf.max_path,
        rights=leaf.perms,
        statements=chain,
    )


def _hold(above: _Above, statement: Statement, anchor: Anchor) -> None:
    """Steps 2 and 3 of this module, for one statement."""
    if above.statements and above.statements[0].state != "active":
        raise _inactive(above.statements[0])
    jws.verify(statement.parsed, _issuer_key(above, statement, anchor))
    _require_narrower(above, statement)
    _require_one_use(above, statement, anchor)


def _issuer_key(above: _Above, statement: Statement, anchor: Anchor) -> PublicKey:
    if not above.statements:
        root_key = anchor.root.key(statement.kid)
        if root_key is None:
            raise UntrustedError(
                "registry.trust.kid_unknown", field="kid", value=statement.kid, subject=ROOT_NAME
            )
        return root_key
    row = above.statements[0].key(statement.kid)
    if row is None:
        raise UntrustedError(
            "registry.trust.kid_unknown", field="kid", value=statement.kid, subject=above.name
        )
    if not row.good_at(statement.iat):
        raise UntrustedError(
            "registry.trust.key_not_in_use",
            field="kid",
            value=statement.kid,
            subject=above.name,
            at=statement.iat,
        )
    return row.public


def _require_narrower(above: _Above, statement: Statement) -> None:
    subject = statement.subject
    if statement.max_path >= above.max_path:
        raise UntrustedError(
            "registry.trust.wider_path",
            field="max_path",
            subject=subject.key,
            value=statement.max_path,
            right=above.max_path - 1,
        )
    if statement.exp > above.exp:
        raise UntrustedError(
            "registry.trust.wider_exp", field="exp", subject=subject.key, value=statement.exp, right=above.exp
        )
    extra = sorted(set(statement.algs).difference(above.algs))
    if extra:
        raise UntrustedError(
            "registry.trust.wider_algs",
            field="algs",
            subject=subject.key,
            value=", ".join(extra)[:128],
            right=", ".join(above.algs)[:128],
        )
    if above.rights is None:
        return
    # Also a statement without rights (a suspension) is an act over a derived prefix.
    if not granted(Right(subject, Permission.THIS_HANDLE, frozenset()), above.rights):
        raise UntrustedError(
            "registry.trust.may_not_delegate", field="perms", subject=subject.key, issuer=above.name
        )
    for right in statement.perms:
        if not granted(right, above.rights):
            raise UntrustedError(
                "registry.trust.wider_perms",
                field="perms",
                subject=subject.key,
                value=f"{right.permission.value} 0.NA/{right.prefix} {'+'.join(sorted(right.operations))}"[
                    :200
                ],
                issuer=above.name,
            )


def _require_one_use(above: _Above, statement: Statement, anchor: Anchor) -> None:
    uses: dict[str, str] = dict.fromkeys(anchor.root.keys, "root")
    for other in above.statements:
        uses.update((key.kid, key.use) for key in other.keys)
    for key in statement.keys:
        if uses.get(key.kid, key.use) != key.use:
            raise UntrustedError("registry.trust.key_two_uses", field="jwks", kid=key.kid)


def _inactive(statement: Statement) -> UntrustedError:
    return UntrustedError(
        f"registry.trust.state_{statement.state}",
        field="state",
        subject=statement.subject.key,
        issuer=statement.issuer_name,
    )


def _require_time(statement: Statement, now: float) -> None:
    subject = statement.subject.key
    if now > statement.exp:
        raise UntrustedError(
            "registry.trust.expired", field="exp", subject=subject, value=statement.exp, now=int(now)
        )
    start = max(statement.nbf, statement.iat)
    if now < start - LEEWAY_SECONDS:
        raise UntrustedError(
            "registry.trust.not_yet", field="nbf", subject=subject, value=start, now=int(now)
        )
