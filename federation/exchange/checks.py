"""The receiver's order: what becomes of one token, decided step by step and without I/O.

The steps and their numbers are those of the facts on federation, (b) "receiver order"; the first failure wins:

    1, 2   `unseal`        size, strict token                        -> Refuse 413, 400
    3      `recall`        the hash is known                         -> Duplicate: the stored receipt, byte for byte
    4, 5   `authenticate`  chain, key, what is against it, signature -> Refuse 401, 403; Hold 425 (chain wanted)
    6      `unseal`        reads the payload, and holds what is wrong with it until its number is due
    7      `settle`        receiver and sender                       -> Hold 421
    8, 9   `settle`        position, link to the envelope before     -> Hold 425, 409; Reject
    10, 11 `content`       operation, identifiers, schema            -> Reject or Accept, when it is due
    12     the caller: one transaction, log, commit, receipt

What costs time (`authenticate`, `content`) needs no lock and runs outside the transaction; `settle` runs inside it,
asks nothing of anybody, and puts what the others found in the right order. Authorisation follows position because a
final rejection uses up its number and so must itself be in order. A payload that cannot be read is rejected at the
position of its URL; where a token came in a batch there is none, and the sender is asked to send it alone.
"""

from collections.abc import Callable
from typing import Any, Protocol

from federation.exchange import envelope as wire
from federation.exchange.body import Outside, first_outside
from federation.exchange.decisions import Accept, Decision, Duplicate, Hold, Known, Refuse, Reject
from federation.exchange.envelope import JSON_MEDIA, Detached, Envelope, Position
from federation.exchange.receipt import Expected
from federation.exchange.streams import operation
from federation.exchange.understanding import Rules, Understands
from registry.errors import (
    ForbiddenError,
    HazlinkError,
    InternalError,
    InvalidValueError,
    LimitError,
    MalformedError,
    NotFoundError,
    UntrustedError,
)
from registry.identifier import Prefix
from registry.trust import jws, strict_json
from registry.trust.chain import VerifiedChain

__all__ = [
    "Accept",
    "Decision",
    "Duplicate",
    "Hold",
    "Inspection",
    "Judge",
    "Known",
    "Refuse",
    "Reject",
]


class Judge(Protocol):
    """What is known against keys: revocations, and the last numbers of keys that were rotated.

    Consistency: the newest list of the key's issuer. Concurrency: any number of threads.
    """

    def __call__(self, chain: VerifiedChain, kid: str, envelope: Envelope | None, /) -> None:
        """Refuse a key; `envelope` is what it signed, None when that cannot be read.

        Raises:
            ForbiddenError, UntrustedError: the key is revoked, or its last number is behind.
        """
        ...


class Inspection:
    """One token on its way through the receiver's order. Serves one thread at a time.

    Args:
        token: as received.
        peer: the prefix the session proved.
        stream: of the URL.
        receiver: the prefix the session is held with; it answers for what cannot be read.
        mine: says whether a prefix is homed here.
        at: (epoch, seq) of the URL, None in a batch.
    """

    __slots__ = (
        "_at",
        "_content",
        "_env",
        "_mine",
        "_poison",
        "chain",
        "envelope",
        "parsed",
        "peer",
        "receiver",
        "stream",
        "token",
    )

    def __init__(
        self,
        token: bytes,
        *,
        peer: Prefix,
        stream: str,
        receiver: Prefix,
        mine: Callable[[Prefix], bool],
        at: tuple[int, int] | None = None,
    ) -> None:
        self.token = token
        self.peer = peer
        self.stream = stream
        self.receiver = receiver
        self.parsed: jws.Parsed | None = None
        self.envelope: Envelope | None = None
        self.chain: VerifiedChain | None = None
        self._env: str | None = None
        self._mine = mine
        self._at = at
        self._poison: HazlinkError | None = None
        self._content: tuple[str, HazlinkError | None, Rules | None, Any] | None = None

    # steps 1, 2

    def unseal(self) -> Refuse | None:
        """Take the token apart and read its payload, believing nothing: `env` and `envelope` are there then."""
        try:
            self.parsed = wire.parse(self.token)
        except LimitError as error:
            return Refuse(413, "too_large", error)
        except MalformedError as error:
            return Refuse(400, "bad_token", error)
        try:
            self._read(self.parsed)
        except HazlinkError as error:
            self._poison = error
        return None

    def _read(self, parsed: jws.Parsed) -> None:
        envelope = wire.read(parsed)
        if envelope.stream != self.stream:
            raise MalformedError(
                "federation.exchange.other_stream", field="stream", value=envelope.stream, right=self.stream
            )
        if self._at is not None and (envelope.epoch, envelope.seq) != self._at:
            raise MalformedError(
                "federation.exchange.other_seq",
                field="seq",
                value=f"{envelope.epoch}/{envelope.seq}",
                right=f"{self._at[0]}/{self._at[1]}",
            )
        self.envelope = envelope

    @property
    def env(self) -> str:
        """The name of the token: base64url SHA-256 of its signing input."""
        if self._env is None:
            self._env = self._parsed.sha256
        return self._env

    @property
    def kid(self) -> str:
        """The key that is said to have signed."""
        return self._parsed.kid

    @property
    def lane(self) -> tuple[Prefix, Prefix, str]:
        """(sender, receiver, stream) whose position decides; of an unreadable token those of the session."""
        envelope = self.envelope
        return self.peer, envelope.aud if envelope is not None else self.receiver, self.stream

    @property
    def place(self) -> tuple[int, int] | None:
        """(epoch, seq) it claims; None for an unreadable token of a batch."""
        return (self.envelope.epoch, self.envelope.seq) if self.envelope is not None else self._at

    # step 3

    def recall(self, known: Known | None) -> Duplicate | None:
        """Answer with the receipt given before, also after a later revocation or change of rights."""
        return Duplicate(known) if known is not None and known.iss == self.peer else None

    # steps 4, 5

    def authenticate(
        self, chain: VerifiedChain | None, *, now: float, judge: Judge | None = None, named: bool = True
    ) -> Refuse | Hold | None:
        """Check the chain, the key and the signature.

        Args:
            chain: the chain that has the token's `kid`: the peer's newest, else the one the payload brings, verified;
                None when there is none.
            now: POSIX seconds.
            judge: what is known against keys.
            named: whether the chain the payload names by its digest is known here; when not, the sender is asked
                for it.
        """
        envelope = self.envelope
        if chain is None:
            return _unknown_key(self.kid)
        try:
            chain.require_fresh(now)
        except UntrustedError as error:
            return Refuse(401, "chain_expired", error)
        try:
            chain.require_active()
            if judge is not None:
                judge(chain, self.kid, envelope)
        except (UntrustedError, ForbiddenError) as error:
            return Refuse(403, "revoked", error)
        try:
            # what waited for days was signed in the life of its key: the judge, by position, stops back-dating
            key = chain.signing_key(self.kid, envelope.iat if envelope is not None else now)
        except UntrustedError as error:
            return Refuse(401, "unknown_key", error)
        try:
            jws.verify(self._parsed, key)
        except UntrustedError as error:
            return Refuse(401, "bad_signature", error)
        self.chain = chain
        return None if named else Hold("stale_chain", None)

    # steps 10, 11

    @property
    def wants_body(self) -> str | None:
        """Digest of the body that went beside, None where it stands inside."""
        beside = self.envelope.detached if self.envelope is not None else None
        return beside.sha256 if beside is not None else None

    def content(self, understands: Understands, data: bytes | None = None) -> None:
        """Look at the operation, the identifiers and the schema; what is found waits for `settle`.

        Without the bytes that `wants_body` asks for nothing is looked at, and `settle` answers 424 when it is due.

        Args:
            understands: the types this node applies.
            data: the bytes of the body that went beside.
        """
        envelope = self.envelope
        if envelope is None or self.chain is None:
            return
        body = envelope.body
        if envelope.detached is not None:
            if data is None:
                return
            try:
                body = _beside(envelope.detached, data)
            except MalformedError as error:
                self._poison = error
                return
        rules = understands.find(envelope.type, envelope.schema)
        refused = self._authorise(envelope, self.chain, rules, body)
        if refused is None and rules is not None:
            refused = self._schema(envelope, self.chain, rules, body)
        code = "ok" if rules else "unknown_schema" if understands.known(envelope.type) else "unknown_type"
        self._content = (*(refused or (code, None)), rules, body)

    def _authorise(
        self, envelope: Envelope, chain: VerifiedChain, rules: Rules | None, body: Any
    ) -> tuple[str, HazlinkError] | None:
        needed = operation(envelope.stream)
        if needed is not None and not chain.allows(needed):
            return "forbidden_op", ForbiddenError(
                "federation.exchange.forbidden_op", field="stream", value=needed, peer=self.peer.key
            )
        if rules is not None and rules.stream != envelope.stream:
            return "forbidden_op", ForbiddenError(
                "federation.exchange.other_stream", field="type", value=envelope.stream, right=rules.stream
            )
        if needed is not None and not chain.covers(envelope.iss.handle, needed):
            return self._outside(Outside("iss", envelope.iss.handle.text))
        found = first_outside(body, chain.leaf.perms, needed)
        return self._outside(found) if found else None

    def _schema(
        self, envelope: Envelope, chain: VerifiedChain, rules: Rules, body: Any
    ) -> tuple[str, HazlinkError] | None:
        try:
            rules.check(body)
            # asked after `check`, which makes sure that there is what it looks for
            more = tuple(rules.identifiers(body))
        except (MalformedError, InvalidValueError, LimitError) as error:
            return "bad_schema", error
        found = first_outside(None, chain.leaf.perms, operation(envelope.stream), more) if more else None
        return self._outside(found) if found else None

    def _outside(self, found: Outside) -> tuple[str, HazlinkError]:
        return "forbidden_prefix", ForbiddenError(
            "federation.exchange.outside", field=found.where, value=found.value[:200], peer=self.peer.key
        )

    # steps 7, 8, 9, and the order of all

    def settle(self, due: Position, occupant: Known | None = None) -> Decision:
        """Decide; inside the transaction that holds the lane.

        Args:
            due: the position that comes next in `lane`.
            occupant: what stands at `place`, when that is before `due`.

        Raises:
            InternalError: a step before was left out.
        """
        if (self.envelope is None and self._poison is None) or self.chain is None:
            raise InternalError("federation.exchange.step_left_out", field="settle")
        expected = Expected(due.epoch, due.seq)
        return (
            self._addressed()
            or self._placed(due, occupant, expected)
            or self._linked(due)
            or self._judged(due)
        )

    def _addressed(self) -> Hold | None:
        envelope, chain = self.envelope, self.chain
        if chain is not None and chain.subject != self.peer:
            return self._foreign(chain.subject)
        if envelope is None:
            return None
        if envelope.iss != self.peer:
            return self._foreign(envelope.iss)
        if not self._mine(envelope.aud):
            error = NotFoundError("federation.exchange.wrong_aud", field="aud", value=envelope.aud.key)
            return Hold("wrong_aud", None, error=error)
        return None

    def _foreign(self, who: Prefix) -> Hold:
        error = ForbiddenError(
            "federation.exchange.wrong_iss", field="iss", value=who.key, right=self.peer.key
        )
        return Hold("wrong_iss", None, error=error)

    def _placed(self, due: Position, occupant: Known | None, expected: Expected) -> Decision | None:
        place = self.place
        if place is None:
            return Refuse(
                400, "position_needed", MalformedError("federation.exchange.position_needed", field="token")
            )
        spot = f"{place[0]}/{place[1]}"
        if occupant is not None:
            if occupant.env == self.env:
                return Duplicate(occupant)
            twice = ForbiddenError("federation.exchange.equivocation", field="seq", value=spot)
            return Hold("equivocation", expected, other=occupant.env, error=twice)
        if place == (due.epoch, due.seq):
            return None
        if place[0] == due.epoch and place[1] < due.seq:
            gone = NotFoundError("federation.exchange.not_kept", field="seq", value=spot)
            return Refuse(503, "not_kept", gone)
        return Hold("gap" if place[0] == due.epoch else "unknown_epoch", expected)

    def _linked(self, due: Position) -> Reject | None:
        if self.envelope is None or self.envelope.prev == due.prev:
            return None
        error = MalformedError(
            "federation.exchange.bad_prev", field="prev", value=self.envelope.prev, right=due.prev
        )
        return Reject("bad_prev", error, due)

    def _judged(self, due: Position) -> Decision:
        if self._poison is not None:
            return Reject("bad_json", self._poison, due)
        if self._content is None:
            if self.wants_body is not None:
                return _no_body(self.wants_body)
            raise InternalError("federation.exchange.step_left_out", field="content")
        code, error, rules, body = self._content
        if error is not None:
            return Reject(code, error, due)
        return Accept(code, rules, body, due)

    @property
    def _parsed(self) -> jws.Parsed:
        if self.parsed is None:
            raise InternalError("federation.exchange.step_left_out", field="unseal")
        return self.parsed


def _beside(beside: Detached, data: bytes) -> Any:
    if len(data) != beside.length:
        raise MalformedError("federation.exchange.body_length", field="body_len", length=len(data))
    return strict_json.loads(data) if beside.media == JSON_MEDIA else data


def _no_body(sha256: str) -> Refuse:
    return Refuse(
        424, "body_missing", NotFoundError("federation.exchange.body_missing", field="body", value=sha256)
    )


def _unknown_key(kid: str) -> Refuse:
    return Refuse(
        401, "unknown_key", UntrustedError("federation.exchange.unknown_key", field="kid", value=kid)
    )
