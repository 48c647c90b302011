"""Taking a batch in, inside its transaction: positions, effects, leaves, receipts.

The caller opens the transaction and commits it. What is decided here is decided under the locks of the lanes' rows,
so of two that bring the same envelope one finds what the other stored.

What a restored sender seals again in a new epoch, because it does not know that it arrived in the old one, has the
name it had: it uses up its number and gets its receipt, and nothing happens a second time.
"""

from collections.abc import Iterable
from typing import Any

from federation.exchange import envelope as wire
from federation.exchange import epoch as epochs
from federation.exchange import receipt as receipts
from federation.exchange.checks import Inspection
from federation.exchange.decisions import Accept, Decision, Duplicate, Hold, Known, Refuse, Reject
from federation.exchange.envelope import Envelope
from federation.exchange.finals import (
    Context,
    Due,
    EffectRefusedError,
    Final,
    Lane,
    leaf_of,
    name_of,
    position_of,
    raw_of,
    row_of,
)
from federation.exchange.handlers import Arrived, Delivery
from federation.exchange.receipt import CODES, Expected, Line
from federation.exchange.relay import RELAY_TYPE, innermost
from federation.exchange.storage.received import ReceivedUnit
from federation.log.leaf import Leaf
from federation.log.merkle import leaf_hash
from federation.log.storage import LogUnit
from registry.errors import HazlinkError, InternalError, UnavailableError
from registry.identifier import Prefix
from registry.trust.encoding import b64u
from registry.trust.keys import Signer

__all__ = ["Taking"]


class Taking:
    """One batch in one transaction; used once.

    Args:
        context: what is the same for every batch.
        connection: the open transaction.
        receiver: the prefix the session is held with.
        now: POSIX seconds; when everything in the batch was received.
        careful: put a savepoint around each effect.
    """

    def __init__(
        self, context: Context, connection: Any, *, receiver: Prefix, now: int, careful: bool
    ) -> None:
        self._context = context
        self._connection = connection
        self._unit = ReceivedUnit(connection)
        self._receiver = receiver
        self._now = now
        self._careful = careful
        self._lanes: dict[Lane, Due] = {}
        self._refound: dict[bytes, tuple[int, bytes]] = {}
        self._named: dict[tuple[Lane, str], bytes] = {}
        self._signers: dict[str, Signer] = {}
        self._answers: list[Line | Final] = []
        self._bodies: set[bytes] = set()

    def lock(self, inspections: Iterable[tuple[Inspection, bytes]]) -> None:
        """Lock the lanes of a batch, in the order everybody does, and look up what came back after a restore."""
        lanes: set[Lane] = set()
        envs: list[bytes] = []
        names: dict[Lane, list[str]] = {}
        for inspection, env in inspections:
            peer, aud, stream = inspection.lane
            if self._context.homes.answers_for(aud):
                lanes.add((peer.key, aud.key, stream))
                name = name_of(inspection)
                if name is not None:
                    names.setdefault((peer.key, aud.key, stream), []).append(name)
            envs.append(env)
        for lane in sorted(lanes):
            row = self._unit.lock_lane(lane)
            self._lanes[lane] = Due(position_of(row), row)
            if row.epoch > 1 and lane in names:
                found = self._unit.named(lane, row.epoch, names[lane])
                self._named.update({(lane, name): token for name, token in found.items()})
        self._refound = self._unit.refound(envs)

    def settle(self, inspection: Inspection, env: bytes, *, stale: bool, data: bytes | None) -> None:
        """Decide about the next token of the batch, and let its effect happen.

        Args:
            inspection: after its content was looked at.
            env: its name, raw.
            stale: it names a chain that never came along.
            data: the bytes of a detached body.

        Raises:
            EffectRefusedError: its handler refuses, and there is no savepoint to go back to.
            UnavailableError: its handler cannot now; nothing of the batch may be stored.
        """
        peer, aud, stream = inspection.lane
        lane = (peer.key, aud.key, stream)
        due = self._lanes.get(lane)
        if due is None:
            decision = inspection.settle(epochs.first_position(peer, aud, stream))
            self._answers.append(self._answer(inspection, decision, lane))
            return
        occupant = self._occupant(lane, due, inspection)
        if isinstance(occupant, Final):
            # the same bytes twice in one batch: one effect, one receipt
            self._answers.append(
                occupant if occupant.env == env else self._conflict_inside(inspection, occupant, lane, due)
            )
            return
        decision = inspection.settle(due.position, occupant)
        if stale and isinstance(decision, Accept | Reject):
            decision = Hold("stale_chain", Expected(due.position.epoch, due.position.seq))
        if isinstance(decision, Accept | Reject):
            final = self._final(inspection, env, decision, lane, data)
            due.taken[decision.position.epoch, decision.position.seq] = final
            due.position = decision.position.after(final.name)
            due.moved = True
            self._answers.append(final)
        else:
            self._answers.append(self._answer(inspection, decision, lane))

    def finish(self) -> list[Line]:
        """Give leaves their places, sign the receipts, store everything; return the lines, in order."""
        finals = self._finals()
        fresh = [final for final in finals if not final.refound]
        if fresh:
            first = LogUnit(self._connection, self._context.log_number).append([f.leaf for f in fresh])
            for index, final in enumerate(fresh, start=first):
                final.leaf_index = index
        for final in finals:
            final.receipt = self._receipt(final)
        self._unit.put([row_of(final) for final in finals])
        self._unit.forget_refound([final.env for final in finals if final.refound])
        self._unit.claim_bodies(self._bodies)
        for lane, due in self._lanes.items():
            if due.moved:
                self._unit.move_lane(
                    lane, epoch=due.position.epoch, next_seq=due.position.seq, prev=raw_of(due.position.prev)
                )
        return [
            answer if isinstance(answer, Line) else Line(CODES[answer.code].status, answer.receipt)
            for answer in self._answers
        ]

    # inside

    def _finals(self) -> list[Final]:
        """Return what uses up a number, once each, in the order of the batch."""
        seen: set[int] = set()
        found: list[Final] = []
        for answer in self._answers:
            if isinstance(answer, Final) and id(answer) not in seen:
                seen.add(id(answer))
                found.append(answer)
        return found

    def _occupant(self, lane: Lane, due: Due, inspection: Inspection) -> "Known | Final | None":
        """Return what stands at the place a token claims, when that is before what is due."""
        place = inspection.place
        if place is None or place >= (due.position.epoch, due.position.seq):
            return None
        inside = due.taken.get(place)
        if inside is not None:
            return inside
        stored = self._unit.at(lane, *place)
        if stored is None:
            return None
        return Known(Prefix(lane[0]), b64u(stored.env), stored.receipt, stored.code)

    def _final(
        self, inspection: Inspection, env: bytes, decision: Accept | Reject, lane: Lane, data: bytes | None
    ) -> Final:
        final = Final(
            inspection, env, b64u(env), decision.code, lane, decision.position, applied=1, at=self._now
        )
        back = self._refound.get(env)
        if back is not None:
            final.leaf_index, final.leaf = back
            said = Leaf.decode(final.leaf)
            final.code, final.at, final.refound = said.code or decision.code, said.at, True
        if isinstance(decision, Accept):
            self._accept(final, decision, data)
        elif CODES[final.code].outcome != "rejected":
            # it was accepted before the restore, and is to be applied when it can be
            final.applied = 0
        if not final.refound:
            final.leaf = leaf_of(final)
        return final

    def _accept(self, final: Final, decision: Accept, data: bytes | None) -> None:
        inspection = final.inspection
        envelope = inspection.envelope
        if envelope is None or inspection.chain is None:
            raise InternalError("federation.exchange.step_left_out", field="settle")
        if CODES[final.code].outcome == "rejected":
            return
        if envelope.type == RELAY_TYPE and decision.code == "ok":
            final.origin = innermost(decision.body).iss.key
        if self._happened(envelope, final.lane):
            return
        if decision.rules is None:
            final.applied = 0
        elif not self._apply(final, decision, inspection, data):
            return
        if envelope.detached is not None:
            self._bodies.add(raw_of(envelope.detached.sha256))
        relaying = self._context.relaying
        if relaying is not None and relaying.wants(envelope, decision.body):
            relaying.pass_on(self._connection, envelope, inspection.chain, data)

    def _happened(self, envelope: Envelope, lane: Lane) -> bool:
        """Say whether the very same content came under this name in an earlier epoch, and had its effect there."""
        token = self._named.get((lane, envelope.jti))
        if token is None:
            return False
        before = wire.read(wire.parse(token))
        return _content(before) == _content(envelope)

    def _apply(self, final: Final, decision: Accept, inspection: Inspection, data: bytes | None) -> bool:
        """Let the effect happen; False when its handler refuses, which then is what the receipt says."""
        envelope, chain = inspection.envelope, inspection.chain
        if envelope is None or chain is None:
            raise InternalError("federation.exchange.step_left_out", field="settle")
        handler = self._context.handlers.find(envelope.type, envelope.schema)
        if handler is None:
            raise InternalError("federation.exchange.step_left_out", field="handler")
        delivery = Delivery(
            envelope=envelope,
            origin=envelope.iss,
            via=(),
            chain=chain,
            received_at=final.at,
            body=decision.body,
            receiver=envelope.aud,
            arrived=Arrived(envelope, chain, data),
        )
        try:
            if self._careful:
                with self._connection.begin_nested():
                    handler.apply(self._connection, delivery)
            else:
                handler.apply(self._connection, delivery)
        except UnavailableError:
            raise
        except Exception as error:
            if not self._careful:
                raise EffectRefusedError from error
            if final.refound or not isinstance(error, HazlinkError):
                # It was accepted, or the mistake is ours: nobody else may lose by it. An operator sees it waiting.
                final.applied = 2
                return True
            final.code = "business"
            return False
        return True

    def _answer(self, inspection: Inspection, decision: Decision, lane: Lane) -> Line:
        if isinstance(decision, Refuse | Duplicate):
            return decision.line()
        if not isinstance(decision, Hold):
            raise InternalError("federation.exchange.step_left_out", field="settle")
        if decision.code == "equivocation":
            stored = self._unit.at(lane, *(inspection.place or (0, 0)))
            if stored is not None:
                return self._conflict(inspection, decision, lane, (stored.env, stored.token))
        return Line(decision.status, self._hold_receipt(inspection, decision, lane))

    def _conflict_inside(self, inspection: Inspection, other: Final, lane: Lane, due: Due) -> Line:
        """Answer a second envelope under a number that this very batch used up."""
        known = Known(Prefix(lane[0]), other.name, "", other.code)
        decision = inspection.settle(due.position, known)
        if not isinstance(decision, Hold) or decision.code != "equivocation":
            return self._answer(inspection, decision, lane)
        first = other.inspection
        return self._conflict(inspection, decision, lane, (other.env, first.token))

    def _conflict(
        self, inspection: Inspection, decision: Hold, lane: Lane, first: tuple[bytes, bytes]
    ) -> Line:
        """Keep both envelopes as evidence, and answer; the same again for the same second envelope."""
        mine = raw_of(inspection.env)
        known = self._unit.conflict(mine)
        if known is not None:
            return Line(decision.status, known.receipt)
        made = self._hold_receipt(inspection, decision, lane)
        epoch, seq = inspection.place or (0, 0)
        chain = inspection.chain
        self._unit.put_conflict(
            {
                "env": mine,
                "iss": lane[0],
                "aud": lane[1],
                "stream": lane[2],
                "epoch": epoch,
                "seq": seq,
                "token": inspection.token,
                "known_env": first[0],
                "known_token": first[1],
                "receipt": made.encode(),
                "chain": raw_of(chain.sha256) if chain is not None else b"",
                "at": self._now,
            }
        )
        return Line(decision.status, made)

    def _hold_receipt(self, inspection: Inspection, decision: Hold, lane: Lane) -> str:
        # who was not meant says so in his own name
        iss = self._receiver if decision.code in ("wrong_aud", "wrong_iss") else Prefix(lane[1])
        epoch, seq = inspection.place or (1, 1)
        return receipts.issue(
            self._signer(iss),
            iss=iss,
            aud=inspection.peer,
            env=inspection.env,
            stream=inspection.stream,
            epoch=epoch,
            seq=seq,
            code=decision.code,
            received_at=self._now,
            credit=self._context.credit,
            expected=decision.expected,
        )

    def _receipt(self, final: Final) -> str:
        iss, aud, stream = final.lane
        return receipts.issue(
            self._signer(Prefix(aud)),
            iss=Prefix(aud),
            aud=Prefix(iss),
            env=final.name,
            stream=stream,
            epoch=final.position.epoch,
            seq=final.position.seq,
            code=final.code,
            received_at=final.at,
            credit=self._context.credit,
            leaf_index=final.leaf_index,
            leaf=b64u(leaf_hash(final.leaf)),
        )

    def _signer(self, prefix: Prefix) -> Signer:
        signer = self._signers.get(prefix.key)
        if signer is None:
            signer, _ = self._context.homes.signer_for(prefix)
            self._signers[prefix.key] = signer
        return signer


def _content(envelope: Envelope) -> tuple[Any, ...]:
    beside = envelope.detached.sha256 if envelope.detached is not None else None
    return envelope.type, envelope.schema, envelope.ref, envelope.body, beside
