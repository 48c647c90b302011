"""The daily deposit: every prefix puts its records away at its superior, encrypted to the superior's escrow key.

Rules:

- FULL first, then DIFF each day; FULL again after some days, or when the superior announced another key;
- a deposit that the superior refused for good is as good as none: a refused DIFF, for one because the deposit it
  stands on is not there any more, is followed by a FULL at once, a refused FULL by another one the next day;
- a deposit begins with a watermark, the newest change at that moment. A FULL is read record by record over many
  transactions, so a record may already be newer than the watermark; a DIFF holds the newest version of whatever
  changed since the watermark before. Versions only grow, so both together are complete;
- one part in one transaction or two: memory stays bounded, other streams are never held up;
- the last envelope is the signed manifest; without it the parts are worth nothing;
- it holds everything of the prefix, private values with their salts included, and no account: who may open it can
  read it all, and the documentation says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from federation.content.dataset import Rhythm
from federation.content.policy import slot_of
from federation.content.ports import HomedPrefixes, reporting
from federation.escrow.cipher import seal_part
from federation.escrow.manifest import DIFF, EMPTY, FULL, Manifest, chained, deposit_of, sign_manifest
from federation.escrow.storage import EscrowUnit
from federation.exchange import envelope as wire
from federation.exchange.envelope import Draft
from registry.clock import Clock
from registry.identifier import Identifier, Prefix
from registry.prefixes.record_form import to_form
from registry.record import Record
from registry.trust.keys import Signer

__all__ = ["DEPOSIT_SCHEMA", "DEPOSIT_TYPE", "FORM", "PART_SCHEMA", "PART_TYPE", "Deposits", "Signers"]

PART_TYPE = "escrow.part"
PART_SCHEMA = "escrow.part/1"
DEPOSIT_TYPE = "escrow.deposit"
DEPOSIT_SCHEMA = "escrow.deposit/1"
FORM = 1
_STREAM = "report"
_PAGE = 500
#: A part is closed when its content reaches one of these, before it is compressed.
_PART_RECORDS = 4_000
_PART_BYTES = 4 * 1024 * 1024
#: Parts made in one transaction.
_PARTS_AT_ONCE = 2
_ID_BYTES = 12
_DAY = 86_400
_LOOK_SECONDS = 10
#: So many of the newest rejections are looked at.
_REJECTED = 20


class Signers(Protocol):
    """The keys of the homed prefixes; `registry.prefixes.homes.Homes` is one. Errors as said there."""

    def signer_for(self, prefix: Prefix) -> tuple[Signer, Prefix]:
        """Return the signing key of the home that answers for `prefix`, and that home."""
        ...


@dataclass(slots=True)
class _Filled:
    """A part while it is filled: its lines, how many records, how far it went, whether that was the end."""

    lines: list[bytes]
    size: int = 0
    records: int = 0
    position: int = 0
    prefix: str = ""
    suffix: str = ""
    done: bool = False

    @property
    def full(self) -> bool:
        return self.records >= _PART_RECORDS or self.size >= _PART_BYTES

    def add(self, kind: str, content: Mapping[str, Any]) -> None:
        line = orjson.dumps({kind: content})
        self.lines.append(line)
        self.size += len(line)
        self.records += kind == "record"


class Deposits:
    """Source of deposits; implements `federation.exchange.sealing.Source`.

    Args:
        homes: the prefixes this node speaks for.
        signers: their keys.
        clock: the time.
        entropy: source of random bytes.
        full_days: days after which a deposit is a full one again.
    """

    def __init__(
        self,
        *,
        homes: HomedPrefixes,
        signers: Signers,
        clock: Clock,
        entropy: Callable[[int], bytes],
        full_days: int = 7,
    ) -> None:
        self._homes = homes
        self._signers = signers
        self._clock = clock
        self._entropy = entropy
        self._full_days = full_days
        self._looked = -1

    @property
    def stream(self) -> str:
        """The stream its drafts are for."""
        return _STREAM

    def collect(self, connection: Any, limit: int) -> Sequence[Draft]:
        """Return the next parts and manifests, at most `limit`."""
        look = int(self._clock.now() // _LOOK_SECONDS)
        if look == self._looked or limit < 1:
            return []
        unit = EscrowUnit(connection)
        keys = unit.superior_keys()
        drafts: list[Draft] = []
        room = min(limit, _PARTS_AT_ONCE)
        for owner, (prefix, receiver) in reporting(self._homes).items():
            issuer, kid, key = keys.get(owner, ("", "", b""))
            if issuer != receiver.key or self._homes.home_of(receiver) == receiver:
                continue
            if len(drafts) >= room:
                return drafts
            drafts += self._of(unit, prefix, receiver, kid, key, room - len(drafts))
        if not drafts:
            self._looked = look
        return drafts

    def _of(  # noqa: PLR0917 — the owner, whom it is for and with which key
        self, unit: EscrowUnit, owner: Prefix, receiver: Prefix, kid: str, key: bytes, room: int
    ) -> list[Draft]:
        """Go on with the deposit of a prefix, or begin one that is due."""
        last = unit.last_made(owner.key)
        if last is not None and last["state"] == "open" and last["kid"] != kid:
            unit.move(owner.key, last["rev"], state="dropped")
            last = unit.last_made(owner.key)
        slot = slot_of(Rhythm.DAILY, self._clock.now())
        if last is None or last["state"] == "closed":
            refused = last is not None and _is_refused(unit, owner, receiver, last)
            again = refused and last is not None and last["kind"] == DIFF
            if last is not None and last["slot"] == slot and last["kid"] == kid and not again:
                return []
            last = self._begin(unit, owner, receiver, kid, slot, None if refused else last)
        drafts: list[Draft] = []
        while len(drafts) < room:
            made = self._part(unit, owner, receiver, last, key)
            drafts.append(made)
            found = unit.last_made(owner.key)
            if made.type == DEPOSIT_TYPE or found is None:
                break
            last = found
        return drafts

    def _begin(  # noqa: PLR0917 — the columns of a deposit
        self,
        unit: EscrowUnit,
        owner: Prefix,
        receiver: Prefix,
        kid: str,
        slot: int,
        last: Mapping[str, Any] | None,
    ) -> Mapping[str, Any]:
        full = unit.last_made(owner.key, kind=FULL)
        now = int(self._clock.now())
        whole = (
            last is None
            or full is None
            or full["kid"] != kid
            or full["receiver"] != receiver.key
            or now - full["at"] >= self._full_days * _DAY
        )
        row = {
            "owner": owner.key,
            "rev": unit.next_rev(owner.key),
            "deposit": self._entropy(_ID_BYTES).hex(),
            "receiver": receiver.key,
            "kid": kid,
            "kind": FULL if whole else DIFF,
            "base": 0 if whole or last is None else last["rev"],
            "watermark": unit.last_change(),
            "position": 0 if whole or last is None else last["watermark"],
            "prefix": "",
            "suffix": "",
            "parts": 0,
            "records": 0,
            "sha256": EMPTY,
            "state": "open",
            "slot": slot,
            "at": now,
        }
        unit.open(row)
        return row

    def _part(
        self, unit: EscrowUnit, owner: Prefix, receiver: Prefix, row: Mapping[str, Any], key: bytes
    ) -> Draft:
        """Make the next part of a deposit, or its manifest when all is in."""
        if row["position"] < 0:
            return self._manifest(unit, owner, receiver, row)
        filled = _Filled([], position=row["position"], prefix=row["prefix"], suffix=row["suffix"])
        if row["parts"] == 0:
            filled.add("head", self._head(unit, owner, row))
        fill = self._all if row["kind"] == FULL else self._changed
        while not filled.full and not filled.done:
            fill(unit, owner, filled, row)
        data = seal_part(
            b"\n".join(filled.lines) + b"\n",
            deposit=row["deposit"],
            part=row["parts"] + 1,
            kid=row["kid"],
            recipient=key,
            entropy=self._entropy,
        )
        unit.move(
            owner.key,
            row["rev"],
            position=-1 if filled.done else filled.position,
            prefix=filled.prefix,
            suffix=filled.suffix,
            parts=row["parts"] + 1,
            records=row["records"] + filled.records,
            sha256=chained(bytes(row["sha256"]), data),
        )
        return Draft(owner, receiver, _STREAM, PART_TYPE, PART_SCHEMA, data)

    def _all(self, unit: EscrowUnit, owner: Prefix, filled: _Filled, row: Mapping[str, Any]) -> None:
        del row
        page = unit.records_after(owner, filled.prefix, filled.suffix, _PAGE)
        for record in page:
            if self._homes.home_of(record.identifier.authority) == owner:
                filled.add("record", to_form(record))
            filled.prefix, filled.suffix = record.identifier.prefix.key, record.identifier.suffix_key
            if filled.full:
                return
        filled.done = len(page) < _PAGE

    def _changed(self, unit: EscrowUnit, owner: Prefix, filled: _Filled, row: Mapping[str, Any]) -> None:
        page = unit.changed(filled.position, row["watermark"], _PAGE)
        mine = [
            (prefix, suffix)
            for _, prefix, suffix in page
            if self._homes.home_of(Identifier.parse(f"{prefix}/{suffix}").authority) == owner
        ]
        records: Sequence[Record] = unit.records(mine)
        for record in records:
            filled.add("record", to_form(record))
        filled.position = page[-1][0] if page else row["watermark"]
        filled.done = len(page) < _PAGE

    def _head(self, unit: EscrowUnit, owner: Prefix, row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "form": FORM,
            "prefix": owner.key,
            "deposit": row["deposit"],
            "rev": row["rev"],
            "kind": row["kind"],
            "base": row["base"],
            "watermark": row["watermark"],
            "at": row["at"],
            "roots": unit.roots(),
            "chain": list(self._homes.chain(owner)),
        }

    def _manifest(self, unit: EscrowUnit, owner: Prefix, receiver: Prefix, row: Mapping[str, Any]) -> Draft:
        signer, _ = self._signers.signer_for(owner)
        made = Manifest(
            owner=owner,
            receiver=receiver,
            deposit=row["deposit"],
            rev=row["rev"],
            kind=row["kind"],
            base=row["base"],
            watermark=row["watermark"],
            parts=row["parts"],
            records=row["records"],
            sha256=bytes(row["sha256"]),
            kid=row["kid"],
            iat=int(self._clock.now()),
        )
        unit.move(owner.key, row["rev"], state="closed")
        body = {"manifest": sign_manifest(signer, made)}
        return Draft(owner, receiver, _STREAM, DEPOSIT_TYPE, DEPOSIT_SCHEMA, body)


def _is_refused(unit: EscrowUnit, owner: Prefix, receiver: Prefix, row: Mapping[str, Any]) -> bool:
    """Say whether the superior's receipt refuses the manifest of a deposit."""
    for token in unit.rejected(owner, receiver, _REJECTED):
        envelope = wire.read(wire.parse(token))
        manifest = envelope.body.get("manifest") if envelope.type == DEPOSIT_TYPE else None
        if isinstance(manifest, str) and deposit_of(manifest) == row["deposit"]:
            return True
    return False
