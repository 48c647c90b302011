"""Sealing: drafts get their number, their place in the chain of hashes and their signature, in one transaction.

Rules (facts on federation, (b) "Sender", "Restore from backup"):

- one process of the node seals; the transaction looks at the fence first, so that one who lost it stores nothing;
- a number is reserved in the mark file before it is signed, and given once: it is a key of the table;
- the envelope, its `out` leaf in the log, the lane's new state and the removal of the draft commit together;
- what cannot be sealed now (a suspended prefix, a key that does not answer, a clock that stands outside the key's
  life) waits, holds up no other lane and shows in the status; what can never be sealed is set aside with the reason,
  because nothing may wait behind it;
- chunks are small, and alarms have a chunk of their own: between two chunks of bulk there is always room.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from federation.exchange import envelope as wire
from federation.exchange.envelope import Draft, Envelope, Position
from federation.exchange.epoch import first_position
from federation.exchange.outbox import to_draft, to_waiting
from federation.exchange.rotating import KeyInUse, require_in_life
from federation.exchange.storage.received import ReceivedUnit
from federation.exchange.storage.sending import LaneName, LaneState, Outgoing, SendingUnit, Waiting
from federation.log.leaf import Leaf
from federation.log.storage import LogUnit
from federation.marks.content import lane_name
from registry.clock import Clock
from registry.errors import ForbiddenError, HazlinkError, NotResponsibleError, UnavailableError
from registry.identifier import Prefix
from registry.storage.engine import Database
from registry.trust.chain import chain_sha256
from registry.trust.encoding import b64u, from_b64u
from registry.trust.keys import Signer
from registry.trust.statement import read as read_statement

__all__ = ["Fence", "MaySign", "Sealer", "SeqMarks", "Source", "Speakers", "fenced"]

_LOG = logging.getLogger("federation.exchange.sealing")
_MILLISECONDS = 1000
_MAX_STREAM = 16
_MAX_TOLD = 4_096
_TOLD = "text/plain"


class Source(Protocol):
    """Makes drafts out of what it finds in the database, for example of the change table.

    Consistency: `collect` runs inside the sealing transaction and advances its own cursor there: what it returned is
    sealed, kept for later or set aside when that transaction commits, and otherwise never was. Concurrency: one
    thread at a time. Errors: HazlinkError leaves the cursor where it was, and the other sources go on.
    """

    @property
    def stream(self) -> str:
        """The stream its drafts are for."""
        ...

    def collect(self, connection: Any, limit: int) -> Sequence[Draft]:
        """Return the next drafts, at most `limit`.

        Args:
            connection: the open transaction; never commit or roll it back.
            limit: how many at most.
        """
        ...


class SeqMarks(Protocol):
    """The memory of numbers outside the database; `federation.marks.file.MarkFile` is one.

    Durability: what was reserved stays so. Concurrency: any number of threads. Errors: UnavailableError when it
    cannot be written, ConflictError when another process holds the fence, UntrustedError when a number would fall
    back; nothing is signed then.
    """

    def reserve(self, lane: str, epoch: int, seq: int) -> None:
        """Let numbers up to `seq` of `epoch` be signed on the lane."""
        ...


class Speakers(Protocol):
    """Who this node may sign for; `registry.prefixes.homes.Homes` is one.

    Concurrency: any number of threads. Errors: as said at each method.
    """

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        """Return the signing key of the home that answers for `prefix`, and that home.

        Raises:
            NotResponsibleError: it is not homed here.
            ForbiddenError: it is suspended, revoked or closing.
            UnavailableError: its key cannot be loaded.
        """
        ...

    def chain(self, prefix: Prefix) -> tuple[str, ...]:
        """Return the statements that vouch for it, leaf first."""
        ...


#: Returns the fence this process holds; 0 when it holds none.
Fence: TypeAlias = Callable[[], int]
#: Called with the open transaction before anything is signed or logged in it; raises when this process must not.
MaySign: TypeAlias = Callable[[Any], None]


def fenced(fence: Fence) -> MaySign:
    """Return the check that this process holds the fence, and keeps it until the transaction ends.

    The check raises UnavailableError when it holds none, ConflictError when another process has taken over.
    """

    def check(connection: Any) -> None:
        own = fence()
        if not own:
            raise UnavailableError("federation.exchange_sending.no_fence", retry_after=5)
        SendingUnit(connection).check_fence(own)

    return check


@dataclass(slots=True)
class _Lane:
    """A lane while it is being sealed on.

    Attributes:
        state: as it was.
        new: there is no row of it yet.
        known: whether the receiver has been shown the whole chain.
        at: where the next envelope stands.
        made: what was sealed, with its draft.
    """

    state: LaneState
    new: bool
    signer: Signer
    chain: tuple[str, ...]
    digest: str
    known: bool
    at: Position
    made: list[tuple[Waiting, Envelope]] = field(default_factory=list)

    def moved(self, now: int) -> LaneState:
        """Return the lane as it is after what was sealed."""
        if not self.made:
            return self.state
        return replace(
            self.state,
            next_seq=self.at.seq,
            prev=_raw(self.at.prev),
            chain=_raw(self.digest),
            sealed_at=now,
        )


class Sealer:
    """Gives drafts their numbers.

    Consistency: one transaction for each call. Durability: what `seal` counted is kept. Concurrency: any number of
    threads and processes; only the holder of the fence gets anywhere. Errors: as said at `seal`.
    """

    def __init__(
        self,
        *,
        database: Database,
        speakers: Speakers,
        marks: SeqMarks,
        may_sign: MaySign,
        clock: Clock,
        entropy: Callable[[int], bytes],
        sources: Iterable[Source] = (),
        key_in_use: KeyInUse | None = None,
    ) -> None:
        """Take the parts.

        Args:
            database: where drafts and envelopes are.
            speakers: keys and chains of the homed prefixes.
            marks: the memory of numbers outside the database.
            may_sign: lets the elected process sign and no other; `fenced` makes one.
            clock: the time.
            entropy: source of random bytes.
            sources: what makes drafts of its own, in the order asked.
            key_in_use: says with which key a prefix may sign now; None: with the one `speakers` has.
        """
        self._key_in_use = key_in_use
        self._database = database
        self._speakers = speakers
        self._marks = marks
        self._may_sign = may_sign
        self._clock = clock
        self._entropy = entropy
        self._sources = tuple(sources)
        self._digests: dict[tuple[str, ...], str] = {}

    def add_source(self, source: Source) -> None:
        """Ask one more source from now on; for the composition root."""
        self._sources = (*self._sources, source)

    def seal(self, stream: str, limit: int) -> int:
        """Seal up to `limit` drafts of a stream; return how many envelopes were made.

        Raises:
            UnavailableError: this process holds no fence, or a key, the mark file or the database does not answer.
            ConflictError: another process has taken over.
            UntrustedError: the mark file knows a later epoch; nothing is signed until that is healed.
        """
        sources = [source for source in self._sources if source.stream == stream]
        if not sources and not self._waits(stream):
            return 0
        now = self._clock.now()
        with self._database.write() as connection:
            unit = SendingUnit(connection)
            self._may_sign(connection)
            drafts = self._stored(connection, unit, stream, limit)
            drafts += self._collected(connection, unit, sources, limit - len(drafts), int(now))
            return self._seal(connection, unit, drafts, now) if drafts else 0

    def _waits(self, stream: str) -> bool:
        with self._database.read() as connection:
            return SendingUnit(connection).has_pending(stream)

    def _stored(self, connection: Any, unit: SendingUnit, stream: str, limit: int) -> list[Waiting]:
        """Return stored drafts of the lanes that can be sealed on now, each lane its fair part."""
        lanes = [lane for lane in unit.pending_lanes(stream) if self._ready(connection, lane.iss)]
        found: list[Waiting] = []
        for place, lane in enumerate(lanes):
            share = (limit - len(found)) // (len(lanes) - place)
            found += unit.pending(lane, max(share, 1)) if len(found) < limit else []
        return found

    def _collected(
        self, connection: Any, unit: SendingUnit, sources: Sequence[Source], limit: int, at: int
    ) -> list[Waiting]:
        found: list[Waiting] = []
        for source in sources:
            if len(found) >= limit:
                break
            try:
                with connection.begin_nested():
                    drafts = source.collect(connection, limit - len(found))
            except HazlinkError as error:
                _LOG.warning("a source of %s has nothing now: %s", source.stream, error)
                continue
            for draft in drafts:
                try:
                    found.append(to_waiting(draft, at))
                except HazlinkError as error:
                    unit.set_aside(_described(draft, at), error.code, at)
        return found

    def _ready(self, connection: Any, prefix: Prefix) -> bool:
        chain = self._speakers.chain(prefix)
        try:
            signer, home = self._speakers.signer_for(prefix)
            require_in_life(chain, signer.kid, int(self._clock.now()))
        except (NotResponsibleError, ForbiddenError, UnavailableError):
            return False
        if home != prefix or not chain:
            return False
        return self._key_in_use is None or self._key_in_use(connection, prefix) == signer.kid

    def _seal(self, connection: Any, unit: SendingUnit, drafts: Sequence[Waiting], now: float) -> int:
        by_lane: dict[LaneName, list[Waiting]] = {}
        later: list[Waiting] = []
        ready = {prefix: self._ready(connection, prefix) for prefix in {draft.lane.iss for draft in drafts}}
        for draft in drafts:
            if ready[draft.lane.iss]:
                by_lane.setdefault(draft.lane, []).append(draft)
            elif draft.position is None:
                later.append(draft)
        known = unit.lock_lanes(by_lane)
        lanes = [self._open(name, known.get(name)) for name in sorted(by_lane)]
        for lane in lanes:
            wanted = by_lane[lane.state.lane]
            self._marks.reserve(
                lane_name(*lane.state.lane), lane.state.epoch, lane.state.next_seq + len(wanted) - 1
            )
            for draft in wanted:
                self._number(unit, lane, draft, now)
            state = lane.moved(int(now))
            if state.chain != lane.state.chain:
                self._keep_chain(connection, lane, int(now))
            unit.put_lane(state, new=lane.new)
        if later:
            unit.append(later)
        self._store(unit, LogUnit(connection), lanes, int(now))
        unit.remove_pending([d.position for drafts in by_lane.values() for d in drafts if d.position])
        return sum(len(lane.made) for lane in lanes)

    def _open(self, lane: LaneName, known: LaneState | None) -> _Lane:
        signer, _ = self._speakers.signer_for(lane.iss)
        chain = self._speakers.chain(lane.iss)
        digest = self._digests.get(chain)
        if digest is None:
            digest = self._digests[chain] = chain_sha256(chain)
        state = known or LaneState(
            lane=lane, epoch=1, next_seq=1, prev=_raw(first_position(lane.iss, lane.aud, lane.stream).prev)
        )
        return _Lane(
            state=state,
            new=known is None,
            signer=signer,
            chain=chain,
            digest=digest,
            known=state.chain == _raw(digest),
            at=Position(state.epoch, state.next_seq, b64u(state.prev)),
        )

    def _number(self, unit: SendingUnit, lane: _Lane, draft: Waiting, now: float) -> None:
        """Sign one draft and move the lane on, or set the draft aside."""
        try:
            sealed = wire.seal(
                lane.signer,
                to_draft(draft),
                lane.at,
                chain=lane.digest if lane.known else lane.chain,
                jti=draft.jti or wire.uuid7(int(now * _MILLISECONDS), self._entropy),
                iat=int(now),
            )
        except UnavailableError:
            raise
        except HazlinkError as error:
            unit.set_aside(draft, error.code, int(now))
            return
        lane.at = lane.at.after(sealed.env)
        lane.known = True
        lane.made.append((draft, sealed))

    def _keep_chain(self, connection: Any, lane: _Lane, now: int) -> None:
        """Keep a chain that went out: a receiver that lost it will ask for it by its digest."""
        leaf = read_statement(lane.chain[0])
        ReceivedUnit(connection).put_chain(
            _raw(lane.digest), leaf.subject.key, lane.chain, ver=leaf.ver, at=now
        )

    def _store(self, unit: SendingUnit, log: LogUnit, lanes: Sequence[_Lane], now: int) -> None:
        made = [(lane.state.lane, draft, sealed) for lane in lanes for draft, sealed in lane.made]
        if not made:
            return
        first = log.append(_leaves(lanes))
        rows = []
        for place, (name, draft, sealed) in enumerate(made, start=first):
            body = None
            if sealed.detached is not None and sealed.detached.data is not None:
                body = _raw(sealed.detached.sha256)
                unit.add_body(body, sealed.detached.data, sealed.detached.media, now)
            rows.append(
                Outgoing(
                    lane=name,
                    epoch=sealed.epoch,
                    seq=sealed.seq,
                    env=_raw(sealed.env),
                    jti=sealed.jti,
                    token=sealed.token.encode(),
                    queued_at=draft.at,
                    out_index=place,
                    body=body,
                )
            )
        unit.add(rows)


def _described(draft: Draft, at: int) -> Waiting:
    """Return a draft that cannot even be stored, as well as it can be told."""
    lane = LaneName(draft.iss, draft.aud, draft.stream[:_MAX_STREAM])
    told = ascii(draft.body)[:_MAX_TOLD].encode()
    return Waiting(None, lane, draft.type[:_MAX_TOLD], draft.schema[:_MAX_TOLD], told, _TOLD, draft.ref, at)


def _leaves(lanes: Sequence[_Lane]) -> list[bytes]:
    """Return the `out` leaves of what was sealed, in order."""
    leaves = []
    for lane in lanes:
        iss, aud = lane.state.lane.iss.handle.text, lane.state.lane.aud.handle.text
        for _, sealed in lane.made:
            leaf = Leaf(
                kind="out",
                env=sealed.env,
                iss=iss,
                aud=aud,
                stream=sealed.stream,
                epoch=sealed.epoch,
                seq=sealed.seq,
                at=sealed.iat,
            )
            leaves.append(leaf.encode())
    return leaves


def _raw(digest: str) -> bytes:
    raw = from_b64u(digest)
    if raw is None:  # pragma: no cover — we spelled it ourselves
        raise UnavailableError("federation.exchange_sending.digest", value=digest[:64])
    return raw
