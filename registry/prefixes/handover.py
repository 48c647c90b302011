"""Handing a hosted prefix over to its own node, without one identifier changing.

1. The enterprise's own administrator has the host *close* the prefix: it still answers, nothing new is signed.
2. The host exports a bundle: chain, every record with its signatures and salts, the trails; one JSON text a line,
   sealed at the end by the prefix's key over the digest of all lines before. It holds values that are not public,
   so only the enterprise's administrator may ask for it, and the file is readable by its owner alone.
3. The enterprise's node joins with a hand-over invitation, takes the bundle in, and the operator approves: the new
   statement carries the new key, and the old one as history, so what it signed goes on to verify; the host from
   then on answers with a referral.

Taking in verifies everything before it stores anything, and may be repeated.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from registry.delegation import Home, HomeState, Origin, Purpose
from registry.errors import BusyError, ConflictError, MalformedError, UnavailableError, UntrustedError
from registry.identifier import Identifier, Prefix
from registry.prefixes.office import Office
from registry.prefixes.record_form import from_form, to_form
from registry.principal import Operation, Principal
from registry.record import Record
from registry.trust import jws, strict_json
from registry.trust.chain import MAX_LENGTH, VerifiedChain, verify_chain
from registry.trust.claims import Claims
from registry.trust.record_signature import public_jws, restricted_jws, verify_record
from registry.trust.root import pin

__all__ = ["HANDOVER_TYPE", "Handover", "HandoverSummary"]

HANDOVER_TYPE = "hz-handover+jws"
_FORM = 1
_PAGE = 500
_MAX_LINE = 4 * 1_048_576
_MAX_ROOTS = 64


@dataclass(frozen=True, slots=True)
class HandoverSummary:
    """What a bundle held."""

    prefix: Prefix
    records: int
    trail: int


class Handover:
    """Closes, exports and takes in."""

    def __init__(self, *, office: Office) -> None:
        self._office = office

    def close(self, principal: Principal, prefix: Prefix) -> Home:
        """Stop signing for a hosted prefix; it goes on answering.

        Raises:
            ForbiddenError: the principal does not administer the prefix.
            NotResponsibleError: it is not homed here.
            ConflictError: it is not hosted, or is suspended or revoked.
        """
        return self._move(principal, prefix, HomeState.ACTIVE, HomeState.CLOSING, "closing")

    def reopen(self, principal: Principal, prefix: Prefix) -> Home:
        """Take a closing back, as long as nobody has taken over.

        Raises:
            ForbiddenError: the principal does not administer the prefix.
            ConflictError: it is not closing.
        """
        return self._move(principal, prefix, HomeState.CLOSING, HomeState.ACTIVE, "reopened")

    def export(self, principal: Principal, prefix: Prefix, path: Path) -> HandoverSummary:
        """Write the bundle of a closed prefix; close it first if need be.

        Raises:
            ForbiddenError: the principal does not administer the prefix.
            BusyError: it was closed this very moment; other processes of this node may still be writing.
            ConflictError: it cannot be closed.
            UnavailableError: the file cannot be written.
        """
        office = self._office
        principal.require(Operation.ACCOUNT_MANAGE, prefix)
        with office.store.read() as unit:
            home = office.homed(unit, prefix)
        if home.state is not HomeState.CLOSING:
            home = self.close(principal, prefix)
        with office.store.read() as unit:
            closed = unit.last_audit(prefix, "closing")
        wait = office.terms.closing_seconds - (office.now() - closed.at if closed else 0)
        if wait > 0:
            raise BusyError("registry.prefixes.closing", field="prefix", prefix=prefix.key, retry_after=wait)
        summary = self._write(principal, home, path)
        with office.store.write() as unit:
            office.note(unit, prefix, principal.name, "exported", {"records": summary.records})
        return summary

    def accept(self, principal: Principal, path: Path) -> HandoverSummary:
        """Take a bundle in, on the node that joins with a hand-over invitation.

        Raises:
            UntrustedError: the seal, the chain or a record does not hold; nothing was stored.
            MalformedError: the file is not a bundle.
            ConflictError: this node did not ask to take the prefix over.
            ForbiddenError: the principal does not administer the prefix.
            UnavailableError: the file cannot be read.
        """
        chain, summary = self._verified(principal, path)
        prefix = summary.prefix
        records = (from_form(form, field="record") for form in _lines(path, "record"))
        while batch := list(islice(records, _PAGE)):
            self._office.records.put_copies(batch)
        trail = [(str(line["subject"]), orjson.dumps(line).decode()) for line in _lines(path, "trail")]
        with self._office.store.write() as unit:
            unit.forget_inherited(prefix)
            for first in range(0, len(trail), _PAGE):
                unit.add_inherited(prefix, first, trail[first : first + _PAGE])
            detail = {"records": summary.records, "trail": summary.trail, "chain": chain.sha256}
            self._office.note(unit, prefix, principal.name, "taken over", detail)
        return summary

    def inherited(self, principal: Principal, prefix: Prefix, subject: str) -> list[Mapping[str, Any]]:
        """Return the trail taken over about one identifier, or about the prefix itself.

        Raises:
            ForbiddenError: the principal may not read the trail.
        """
        principal.require(Operation.AUDIT_READ, prefix)
        key = Identifier.parse(subject).key
        with self._office.store.read() as unit:
            return [orjson.loads(line) for line in unit.inherited(prefix, key)]

    def _move(
        self, principal: Principal, prefix: Prefix, before: HomeState, after: HomeState, action: str
    ) -> Home:
        office = self._office
        principal.require(Operation.ACCOUNT_MANAGE, prefix)
        with office.store.write() as unit:
            home = office.homed(unit, prefix)
            if home.origin is not Origin.HOSTED:
                raise ConflictError("registry.prefixes.not_hosted", field="prefix", prefix=prefix.key)
            if home.state is not before:
                raise ConflictError(
                    f"registry.prefixes.home_{home.state.value}", field="prefix", prefix=prefix.key
                )
            changed = replace(home, state=after)
            unit.put_home(changed)
            office.note(unit, prefix, principal.name, action)
        office.homes.refresh()
        return changed

    def _write(self, principal: Principal, home: Home, path: Path) -> HandoverSummary:
        whole = hashlib.sha256()
        counts = {"record": 0, "trail": 0}
        draft = path.with_name(f".{path.name}.part")
        try:
            with open(draft, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                for kind, content in self._content(principal, home):
                    line = orjson.dumps({kind: content}) + b"\n"
                    whole.update(line)
                    file.write(line)
                    if kind in counts:
                        counts[kind] += 1
                file.write(orjson.dumps({"seal": self._seal(home, whole.digest(), counts)}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            raise UnavailableError(
                "registry.prefixes.bundle_file", field="path", path=str(path), reason=str(error)
            ) from error
        return HandoverSummary(prefix=home.prefix, records=counts["record"], trail=counts["trail"])

    def _content(self, principal: Principal, home: Home) -> Iterator[tuple[str, dict[str, Any]]]:
        office = self._office
        with office.store.read() as unit:
            roots = unit.roots()
        yield (
            "head",
            {
                "form": _FORM,
                "prefix": home.prefix.key,
                "roots": roots,
                "chain": office.homes.chain(home.prefix),
                "at": office.now(),
                "by": principal.name,
            },
        )
        yield from self._own_trail(home.prefix)
        after: str | None = None
        while True:
            page = office.records.list(principal, home.prefix, after=after, limit=_PAGE)
            for record in office.records.records(page.identifiers):
                if record is not None:
                    yield "record", to_form(record)
                    yield from self._record_trail(principal, record)
            after = page.next
            if after is None:
                return

    def _own_trail(self, prefix: Prefix) -> Iterator[tuple[str, dict[str, Any]]]:
        after = 0
        while True:
            with self._office.store.read() as unit:
                lines = unit.audit(prefix, after=after, limit=_PAGE)
            for line in lines:
                yield "trail", {**asdict(line), "prefix": prefix.key, "subject": prefix.handle.key}
                after = line.number
            if len(lines) < _PAGE:
                return

    def _record_trail(self, principal: Principal, record: Record) -> Iterator[tuple[str, dict[str, Any]]]:
        after = 0
        while True:
            entries = self._office.records.history(principal, record.identifier, after=after, limit=_PAGE)
            for entry in entries:
                yield "trail", {**entry.to_form(), "subject": record.identifier.key}
                after = entry.position
            if len(entries) < _PAGE:
                return

    def _seal(self, home: Home, digest: bytes, counts: Mapping[str, int]) -> str:
        claims = {
            "iss": f"300:{home.prefix.handle.text}",
            "iat": self._office.now(),
            "sha256": digest.hex(),
            **counts,
        }
        return jws.sign(self._office.keys.load(home.kid), HANDOVER_TYPE, orjson.dumps(claims))

    def _verified(self, principal: Principal, path: Path) -> tuple[VerifiedChain, HandoverSummary]:
        """Read the whole bundle once and verify it, storing nothing."""
        office = self._office
        head = next(_lines(path, "head"), None)
        if not isinstance(head, dict) or head.get("form") != _FORM:
            raise MalformedError("registry.prefixes.bundle_unreadable", field="head")
        claims = Claims(head, at="head")
        prefix = Prefix.parse(claims.text("prefix"), field="head.prefix")
        principal.require(Operation.ACCOUNT_MANAGE, prefix)
        with office.store.read() as unit:
            home = unit.home(prefix)
        superior = home.superior if home else None
        if superior is None or superior.purpose is not Purpose.HANDOVER:
            raise ConflictError("registry.prefixes.not_taking_over", field="prefix", prefix=prefix.key)
        anchor = pin(
            [str(text) for text in claims.array("roots", most=_MAX_ROOTS)], superior.anchor, now=office.now()
        )
        chain = verify_chain(
            [str(token) for token in claims.array("chain", most=MAX_LENGTH)], anchor=anchor, now=office.now()
        )
        if chain.subject != prefix:
            raise UntrustedError(
                "registry.prefixes.chain_other", field="chain", prefix=prefix.key, value=chain.subject.key
            )
        records = self._check_records(path, chain)
        trail = self._check_seal(path, chain, records)
        return chain, HandoverSummary(prefix=prefix, records=records, trail=trail)

    def _check_records(self, path: Path, chain: VerifiedChain) -> int:
        count = 0
        for count, form in enumerate(_lines(path, "record"), 1):
            record = from_form(form, field=f"record {count}")
            if record.signature is None:
                raise UntrustedError("registry.prefixes.record_unsigned", identifier=record.identifier.text)
            verify_record(
                public_jws=public_jws(record),
                restricted_jws=restricted_jws(record),
                shown=record.values,
                chain=chain,
                identifier=record.identifier,
                now=self._office.now(),
            ).require_match(record)
        return count

    def _check_seal(self, path: Path, chain: VerifiedChain, records: int) -> int:
        whole = hashlib.sha256()
        trail, seal = 0, None
        for raw, kind, content in _raw_lines(path):
            if seal is not None:
                raise MalformedError("registry.prefixes.bundle_unreadable", field="seal")
            if kind == "seal":
                seal = content
            else:
                whole.update(raw)
                trail += kind == "trail"
        if not isinstance(seal, str):
            raise MalformedError("registry.prefixes.bundle_cut", field="seal")
        parsed = jws.parse(seal, typ=HANDOVER_TYPE)
        claims = Claims(parsed.claims())
        jws.verify(parsed, chain.signing_key(parsed.kid, claims.integer("iat")))
        said = (claims.text("sha256"), claims.integer("record"), claims.integer("trail"))
        if said != (whole.hexdigest(), records, trail):
            raise UntrustedError("registry.prefixes.bundle_seal", field="seal")
        return trail


def _lines(path: Path, wanted: str) -> Iterator[Any]:
    return (content for _, kind, content in _raw_lines(path) if kind == wanted)


def _raw_lines(path: Path) -> Iterator[tuple[bytes, str, Any]]:
    """Read a bundle line by line: the bytes, the one member's name, its content."""
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(_MAX_LINE + 1):
                number += 1
                if len(raw) > _MAX_LINE or not raw.endswith(b"\n"):
                    raise MalformedError("registry.prefixes.bundle_cut", field=f"line {number}")
                content = strict_json.loads(raw.rstrip(b"\n"))
                if not isinstance(content, dict) or len(content) != 1:
                    raise MalformedError("registry.prefixes.bundle_unreadable", field=f"line {number}")
                ((kind, inner),) = content.items()
                yield raw, kind, inner
    except OSError as error:
        raise UnavailableError(
            "registry.prefixes.bundle_file", field="path", path=str(path), reason=str(error)
        ) from error
