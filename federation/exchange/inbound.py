"""What another node may ask of this one beside taking envelopes: keep a body, learn a chain, open an epoch.

Rules (facts on federation, (b) "Restore from backup"):

- a body comes before the envelope that names it, under its own digest; what no envelope claims within a day is thrown
  away, and nobody may fill the disk with it;
- a later epoch opens only by the sender's statement and its superior's countersignature; where this node is that
  superior it gives the countersignature, once for each epoch, and only for the epoch that follows the known one;
- the superior of the sender consents whoever the receiver is: a lane to a child of the sender is none of its own.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from federation.exchange import epoch as epochs
from federation.exchange.chains import Chains
from federation.exchange.checks import Judge
from federation.exchange.epoch import EpochStatement
from federation.exchange.receipt import Line
from federation.exchange.receiver import Homed, Receiver
from federation.exchange.sessions import Opened, Sessions
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.rows import EpochRow
from federation.exchange.streams import MAX_BODY_BYTES
from federation.log.leaf import Leaf
from federation.log.storage import LogUnit
from registry.clock import Clock
from registry.errors import ConflictError, InvalidValueError, LimitError, RateLimitError, UntrustedError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust import jws
from registry.trust.chain import VerifiedChain
from registry.trust.encoding import b64u, from_b64u
from registry.trust.statement import read

__all__ = ["Inbound", "Neighbours"]

_UNCLAIMED_SECONDS = 86_400
_UNCLAIMED_BYTES = 64 * 1024 * 1024
_RETRY_SECONDS = 5.0


class Neighbours(Homed, Protocol):
    """The prefixes of this node, with what vouches for them; `registry.prefixes.homes.Homes` is one."""

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for a homed prefix, leaf first."""
        ...


class Inbound:
    """The receiving side as its peers see it, whether over HTTPS or from this very process.

    Consistency and errors: as said at each method. Concurrency: any number of threads and processes.
    """

    def __init__(
        self,
        *,
        database: Database,
        homes: Neighbours,
        chains: Chains,
        receiver: Receiver,
        sessions: Sessions,
        clock: Clock,
        judge: Judge | None = None,
        may_sign: Callable[[Any], None] | None = None,
        log_number: int | None = None,
    ) -> None:
        """Take the parts.

        Args:
            database: where everything is kept.
            homes: the prefixes of this node, and their keys.
            chains: the chains of those who send.
            receiver: takes envelopes.
            sessions: opens sessions.
            clock: the time.
            judge: what is known against keys.
            may_sign: as of `Receiver`.
            log_number: which log; None: the newest.
        """
        self._database = database
        self._homes = homes
        self._chains = chains
        self._receiver = receiver
        self._sessions = sessions
        self._clock = clock
        self._judge = judge
        self._may_sign = may_sign
        self._log_number = log_number

    def open(self, form: dict[str, Any]) -> Opened:
        """Open a session; see `Sessions.open`."""
        return self._sessions.open(form)

    def receive(
        self,
        peer: Prefix,
        stream: str,
        tokens: Sequence[bytes],
        *,
        receiver: Prefix | None = None,
        at: tuple[int, int] | None = None,
    ) -> list[Line]:
        """Take envelopes in; see `Receiver.receive`."""
        return self._receiver.receive(peer, stream, tokens, receiver=receiver, at=at)

    def introduce(self, peer: Prefix, chain: Sequence[str]) -> None:
        """Learn a chain of the peer.

        Raises:
            UntrustedError: it does not hold.
            UnavailableError: it cannot be kept.
        """
        self._chains.take(peer, chain)

    def put_body(self, peer: Prefix, sha256: bytes, data: bytes) -> None:
        """Keep a body until its envelope comes; the same again is no news.

        Raises:
            LimitError: larger than 10 MiB.
            InvalidValueError: its digest is another one.
            RateLimitError: too many bodies of this peer wait for their envelopes.
            UnavailableError: it cannot be kept.
        """
        if len(data) > MAX_BODY_BYTES:
            raise LimitError("federation.exchange_receiving.bytes", field="body", limit=MAX_BODY_BYTES)
        found = hashlib.sha256(data).digest()
        if found != sha256:
            raise InvalidValueError(
                "federation.exchange_receiving.body_digest",
                field="sha256",
                value=b64u(found),
                right=b64u(sha256),
            )
        now = int(self._clock.now())
        with self._database.write() as connection:
            unit = ReceivedUnit(connection)
            unit.forget_bodies(now - _UNCLAIMED_SECONDS)
            waiting = unit.unclaimed(peer.key)
            if waiting + len(data) > _UNCLAIMED_BYTES and not unit.has_body(sha256):
                raise RateLimitError(
                    "federation.exchange_receiving.body_quota",
                    retry_after=_RETRY_SECONDS,
                    prefix=peer.key,
                    bytes=waiting,
                    limit=_UNCLAIMED_BYTES,
                )
            unit.put_body(sha256, data, peer=peer.key, at=now)

    def has_body(self, sha256: bytes) -> bool:
        """Say whether a body is here, so that it need not be sent again.

        Raises:
            UnavailableError: the database cannot be read.
        """
        with self._database.read() as connection:
            return ReceivedUnit(connection).has_body(sha256)

    # epochs

    def countersign(self, peer: Prefix, statement: str) -> str:
        """Give the superior's consent to an epoch of a prefix below; the same again for the same statement.

        Where the lane leads to this node, the epoch opens as well. Where it leads elsewhere, the consent and its leaf
        are kept, so that no second one of the same epoch is ever given.

        Raises:
            MalformedError, LimitError: the statement cannot be read.
            UntrustedError: it is not the peer's own, or this node is not its superior.
            ConflictError: the epoch does not follow the one known, or was announced otherwise before.
            UnavailableError: nothing was stored.
        """
        said, chain = self._stated(peer, statement)
        here = self._homes.answers_for(said.aud)
        superior = chain.leaf.issuer
        if superior is None or not self._homes.answers_for(superior):
            raise UntrustedError(
                "federation.exchange.other_iss", field="iss", value=str(superior), right=peer.key
            )
        with self._database.write() as connection:
            if self._may_sign is not None:
                self._may_sign(connection)
            unit = ReceivedUnit(connection)
            lane = (said.iss.key, said.aud.key, said.stream)
            open_now = unit.lock_lane(lane).epoch if here else None
            known = unit.epoch(lane, said.epoch)
            if known is not None and known.statement == statement and known.countersigned is not None:
                return known.countersigned
            if open_now is None:
                # what was consented to before; anything above it may have been opened by the sender since
                newest = max((row.epoch for row in unit.epochs(lane)), default=1)
                open_now = max(said.old_epoch, newest)
            self._require_next(said, open_now, known, statement)
            signer, _ = self._homes.signer_for(superior)
            made = epochs.countersign(signer, said, iss=superior, iat=int(self._clock.now()))
            self._open_epoch(connection, unit, said, made, here=here)
        return made

    def announce(self, peer: Prefix, statement: str, countersigned: str) -> None:
        """Open an epoch that was announced and countersigned; the same again is no news.

        Raises:
            MalformedError, LimitError: one of them cannot be read.
            UntrustedError: one of them is not signed by whom it must be.
            ConflictError: the epoch does not follow the one known, or was announced otherwise before.
            UnavailableError: nothing was stored.
        """
        said, chain = self._stated(peer, statement)
        if not self._homes.answers_for(said.aud):
            raise UntrustedError("federation.exchange.wrong_aud", field="aud", value=said.aud.key)
        consent = epochs.read_countersignature(countersigned)
        superior = chain.leaf.issuer or said.iss
        epochs.require_pair(said, consent, superior)
        above = self._chains.newest(superior)
        if above is None and len(chain.statements) > 1:
            above = self._chains.take(superior, chain.tokens[1:])
        if above is None:
            raise UntrustedError("registry.trust.chain_empty", field="chain")
        jws.verify(consent.parsed, above.signing_key(consent.parsed.kid, consent.iat))
        with self._database.write() as connection:
            if self._may_sign is not None:
                self._may_sign(connection)
            unit = ReceivedUnit(connection)
            lane = (said.iss.key, said.aud.key, said.stream)
            row = unit.lock_lane(lane)
            known = unit.epoch(lane, said.epoch)
            if known is not None and known.statement == statement:
                return
            self._require_next(said, row.epoch, known, statement)
            self._open_epoch(connection, unit, said, countersigned, here=True)

    def _stated(self, peer: Prefix, statement: str) -> tuple[EpochStatement, VerifiedChain]:
        """Read and verify the announcement of an epoch of the peer's."""
        said = epochs.read(statement)
        if said.iss != peer:
            raise UntrustedError(
                "federation.exchange_receiving.peer", field="iss", value=said.iss.key, right=peer.key
            )
        if said.aud == said.iss:
            raise UntrustedError("federation.exchange.wrong_aud", field="aud", value=said.aud.key)
        chain = self._chains.newest(peer)
        if chain is None or chain.leaf.key(said.parsed.kid) is None:
            chain = self._chains.newest(peer, look=True)
        if chain is None:
            chain = self._above(said)
        if chain is None:
            raise UntrustedError("registry.trust.chain_empty", field="chain")
        chain.require_fresh(self._clock.now())
        chain.require_active()
        if self._judge is not None:
            self._judge(chain, said.parsed.kid, None)
        jws.verify(said.parsed, chain.signing_key(said.parsed.kid, said.iat))
        return said, chain

    def _above(self, said: EpochStatement) -> VerifiedChain | None:
        """Return the chain of a superior of the receiver, out of the receiver's own: a child that lost its store."""
        own = self._homes.chain(said.aud) if self._homes.answers_for(said.aud) else ()
        for place, token in enumerate(own):
            if place and read(token).subject == said.iss:
                return self._chains.take(said.iss, own[place:])
        return None

    def _require_next(
        self, said: EpochStatement, open_now: int, known: EpochRow | None, statement: str
    ) -> None:
        """Refuse an epoch that does not end the one that is open now."""
        if (known is not None and known.statement != statement) or said.old_epoch != open_now:
            raise ConflictError(
                "federation.exchange_receiving.epoch_number",
                field="epoch",
                prefix=said.iss.key,
                value=said.epoch,
                right=open_now,
            )

    def _open_epoch(
        self, connection: Any, unit: ReceivedUnit, said: EpochStatement, countersigned: str, *, here: bool
    ) -> None:
        """Keep an epoch with its leaf; where the lane leads here, go on in it."""
        now = int(self._clock.now())
        start = said.start
        opening = from_b64u(start.prev) or b""
        unit.put_epoch(
            EpochRow(
                iss=said.iss.key,
                aud=said.aud.key,
                stream=said.stream,
                epoch=said.epoch,
                old_epoch=said.old_epoch,
                last_seq_known=said.last_seq_known,
                opening=opening,
                statement=said.token,
                countersigned=countersigned,
                at=now,
            )
        )
        if here:
            unit.move_lane(
                (said.iss.key, said.aud.key, said.stream), epoch=start.epoch, next_seq=start.seq, prev=opening
            )
        leaf = Leaf(
            kind="epoch",
            env=said.sha256,
            iss=said.iss.handle.text,
            aud=said.aud.handle.text,
            stream=said.stream,
            epoch=said.epoch,
            seq=said.last_seq_known,
            at=said.iat,
        )
        LogUnit(connection, self._log_number).append([leaf.encode()])
