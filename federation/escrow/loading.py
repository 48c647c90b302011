"""Reading deposits back: decrypted part by part, every record verified before it is kept."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from federation.escrow.cipher import open_part
from federation.escrow.deposit import FORM
from federation.escrow.keys import EscrowKeys
from federation.escrow.manifest import FULL
from federation.escrow.storage import EscrowUnit
from registry.clock import Clock
from registry.errors import HazlinkError, UnavailableError, UntrustedError
from registry.identifier import Identifier, Prefix
from registry.prefixes.record_form import from_form
from registry.record import Record
from registry.storage.engine import Database
from registry.trust import strict_json
from registry.trust.chain import VerifiedChain
from registry.trust.record_signature import public_jws, restricted_jws, verify_record

__all__ = ["Loaded", "Loader", "Records", "line_of"]

_PAGE = 500


class Records(Protocol):
    """Keeps records that others signed; `registry.service.Registry` is one. See there for the contract."""

    def records(self, identifiers: Sequence[Identifier]) -> list[Record | None]:
        """Return records, whole, in the order asked."""
        ...

    def put_copies(self, records: Sequence[Record]) -> None:
        """Keep records exactly as they are; the caller has verified them."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a deposit gave.

    Attributes:
        rev: newest revision that was loaded.
        records: how many records hold; `refused` how many do not and are not served.
        watermark: position of the owner's change table up to which it goes.
    """

    owner: Prefix
    rev: int
    records: int
    refused: int
    watermark: int


class Loader:
    """Loads deposits that are held here.

    Consistency: records are kept page by page; a load that is cut short is repeated whole. Concurrency: any number of
    threads. Errors: as said at `load`.
    """

    def __init__(self, *, database: Database, records: Records, keys: EscrowKeys, clock: Clock) -> None:
        self._database = database
        self._book = records
        self._keys = keys
        self._clock = clock

    def load(
        self, owner: Prefix, line: Sequence[Mapping[str, Any]], chain: VerifiedChain, *, store: bool
    ) -> Loaded:
        """Open deposits in order and keep what is newer than what is kept; `store` False: only look.

        Raises:
            UntrustedError: a part was changed, or is for another key or deposit.
            UnavailableError: a part or the key is not there, or the key cannot be unlocked.
        """
        good, refused = set[str](), set[str]()
        for deposit in line:
            batch: dict[str, Record] = {}
            for number, form in enumerate(self._forms(owner, deposit), 1):
                record = _verified(form, number, chain, self._clock.now())
                if isinstance(record, str):
                    refused.add(record)
                    continue
                batch[record.identifier.key] = record
                good.add(record.identifier.key)
                if len(batch) >= _PAGE:
                    self._keep(batch, store=store)
                    batch = {}
            self._keep(batch, store=store)
        newest = line[-1]
        return Loaded(owner, newest["rev"], len(good), len(refused - good), newest["watermark"])

    def _keep(self, batch: Mapping[str, Record], *, store: bool) -> None:
        if not store or not batch:
            return
        present = self._book.records([record.identifier for record in batch.values()])
        newer = [
            record
            for record, kept in zip(batch.values(), present, strict=True)
            if kept is None or kept.version < record.version
        ]
        if newer:
            self._book.put_copies(newer)

    def _forms(self, owner: Prefix, deposit: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the records of one deposit as JSON; the parts one after the other."""
        key = self._keys.load(deposit["kid"])
        for number in range(1, deposit["parts"] + 1):
            with self._database.read() as connection:
                data = EscrowUnit(connection).part_data(
                    deposit["receiver"], owner.key, deposit["deposit"], number
                )
            if data is None:
                raise UnavailableError("federation.escrow.part_missing", part=number)
            for raw in open_part(data, key).splitlines():
                content = strict_json.loads(raw)
                if not isinstance(content, dict) or len(content) != 1:
                    raise UntrustedError("federation.escrow.part_other", field="part", part=number)
                ((kind, inner),) = content.items()
                if kind == "head":
                    _check_head(inner, owner, deposit)
                elif kind == "record":
                    yield inner


def line_of(held: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the newest FULL and the DIFFs that stand on it one upon the other, oldest first."""
    by_rev = {row["rev"]: row for row in held}
    for newest in held:
        line = [newest]
        while line[-1]["kind"] != FULL and line[-1]["base"] in by_rev:
            line.append(by_rev[line[-1]["base"]])
        if line[-1]["kind"] == FULL:
            return line[::-1]
    return []


def _check_head(head: Any, owner: Prefix, deposit: Mapping[str, Any]) -> None:
    said = {name: head.get(name) for name in ("form", "prefix", "deposit", "rev", "kind", "base")}
    right = {"form": FORM, "prefix": owner.key} | {n: deposit[n] for n in ("deposit", "rev", "kind", "base")}
    if said != right:
        raise UntrustedError("federation.escrow.part_other", field="head", part=1)


def _verified(form: Any, number: int, chain: VerifiedChain, now: float) -> Record | str:
    """Return a record that holds, or the name of one that does not."""
    name = f"record {number}"
    try:
        record = from_form(form, field=name)
        name = record.identifier.key
        verify_record(
            public_jws=public_jws(record),
            restricted_jws=restricted_jws(record),
            shown=record.values,
            chain=chain,
            identifier=record.identifier,
            now=now,
        ).require_match(record)
    except HazlinkError:
        return name
    return record
