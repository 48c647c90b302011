"""Envelopes and receipts for tests: sealed by real keys, between the prefixes of `tests.support.trust`.

park, works = PREFIX("88.107"), PREFIX("88.107.1001")
one = sealed(body={"identifier": "88.107.1001/B-1"})              # number 1 of the lane works -> park
many = lane_of(5)                                                  # five, linked
answer = a_receipt(one)                                            # accepted, by the park
decided = inspected(one.token, due=due_for(one))                   # all steps of the receiver's order
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from federation.exchange import receipt as receipts
from federation.exchange.checks import Inspection, Judge
from federation.exchange.decisions import Decision, Known
from federation.exchange.envelope import Draft, Envelope, Position, seal, uuid7
from federation.exchange.epoch import first_position
from federation.exchange.receipt import FINAL, Receipt
from registry.errors import InvalidValueError
from registry.identifier import Prefix
from registry.trust.chain import VerifiedChain, chain_sha256
from registry.trust.encoding import b64u
from registry.trust.keys import Signer
from tests.support.trust import NOW, a_chain, a_signer

__all__ = [
    "PARK",
    "TOP",
    "TREE",
    "WORKS",
    "ADevice",
    "SomeHandlers",
    "a_draft",
    "a_receipt",
    "due_for",
    "entropy",
    "inspected",
    "lane_of",
    "sealed",
]

TOP, PARK, WORKS = (Prefix.parse(name) for name in ("88", "88.107", "88.107.1001"))
#: Root, top, park, works; every one with all rights over its own names.
TREE = a_chain("88", "88.107", "88.107.1001")
LEAF = b64u(bytes(32))


def entropy(count: int) -> bytes:
    """Random bytes that are none."""
    return bytes(range(1, count + 1))


def a_draft(**other: Any) -> Draft:
    """A draft from the works to its park."""
    content: dict[str, Any] = {
        "iss": WORKS,
        "aud": PARK,
        "stream": "register",
        "type": "dataset.entries",
        "schema": "T9/1",
        "body": {"entries": [{"identifier": "88.107.1001/BATCH-1", "name": "硫酸"}]},
    }
    return Draft(**{**content, **other})


def sealed(
    draft: Draft | None = None,
    position: Position | None = None,
    *,
    signer: Signer | None = None,
    chain: Sequence[str] | str | None = None,
    iat: int = NOW,
    **other: Any,
) -> Envelope:
    """A sealed envelope; what is not said is as good as it gets, `other` changes the draft."""
    made = draft or a_draft(**other)
    where = position or first_position(made.iss, made.aud, made.stream)
    return seal(
        signer or a_signer(made.iss.key),
        made,
        where,
        chain=chain if chain is not None else chain_sha256(TREE.tokens_of(made.iss.key)),
        jti=uuid7(iat * 1000 + where.seq, entropy),
        iat=iat,
    )


def lane_of(count: int, **other: Any) -> list[Envelope]:
    """So many envelopes of one lane, each linked to the one before."""
    draft = a_draft(**other)
    where = first_position(draft.iss, draft.aud, draft.stream)
    made = []
    for _ in range(count):
        made.append(sealed(draft, where))
        where = where.after(made[-1].env)
    return made


def due_for(envelope: Envelope) -> Position:
    """The position at which this envelope is the next one."""
    return envelope.position


def a_receipt(envelope: Envelope, code: str = "ok", **other: Any) -> Receipt:
    """A receipt for an envelope, by the key of its receiver."""
    final = receipts.CODES[code].outcome in FINAL
    content: dict[str, Any] = {
        "iss": envelope.aud,
        "aud": envelope.iss,
        "env": envelope.env,
        "stream": envelope.stream,
        "epoch": envelope.epoch,
        "seq": envelope.seq,
        "code": code,
        "received_at": NOW,
        "credit": 256,
        "leaf_index": envelope.seq - 1 if final else None,
        "leaf": LEAF if final else None,
    }
    content |= other
    signer = content.pop("signer", None) or a_signer(content["iss"].key)
    return receipts.read(receipts.issue(signer, **content))


@dataclass
class ADevice:
    """Rules of one schema: the body is an object with `entries`, and `serial` names one more identifier."""

    stream: str = "register"

    def identifiers(self, body: Any) -> list[str]:
        return [body["serial"]] if "serial" in body else []

    def check(self, body: Any) -> None:
        if not isinstance(body, dict) or not isinstance(body.get("entries"), list):
            raise InvalidValueError("registry.trust.claim_type", field="body.entries", right="array")


@dataclass
class SomeHandlers:
    """Rules by (type, schema); by default one schema of `dataset.entries`."""

    rules: dict[tuple[str, str], ADevice] = field(
        default_factory=lambda: {("dataset.entries", "T9/1"): ADevice()}
    )

    def find(self, type_: str, schema: str, /) -> ADevice | None:
        return self.rules.get((type_, schema))

    def known(self, type_: str, /) -> bool:
        return any(type_ == name for name, _ in self.rules)


def inspected(
    token: str | bytes,
    *,
    due: Position,
    peer: Prefix = WORKS,
    stream: str = "register",
    at: tuple[int, int] | None = None,
    chain: VerifiedChain | None = None,
    known: Known | None = None,
    occupant: Known | None = None,
    handlers: SomeHandlers | None = None,
    data: bytes | None = None,
    now: float = NOW,
    judge: Judge | None = None,
    named: bool = True,
    mine: Callable[[Prefix], bool] = PARK.__eq__,
) -> Decision:
    """What the receiver's order comes to for a token, the park receiving."""
    raw = token.encode() if isinstance(token, str) else token
    one = Inspection(raw, peer=peer, stream=stream, receiver=PARK, mine=mine, at=at)
    early: Decision | None = one.unseal() or one.recall(known)
    if early is not None:
        return early
    vouching = chain if chain is not None else TREE.verified(peer.key, now=NOW)
    early = one.authenticate(vouching, now=now, judge=judge, named=named)
    if early is not None:
        return early
    one.content(handlers or SomeHandlers(), data)
    return one.settle(due, occupant)
