"""Entries into drafts: the sharing policy applied, and as many in one envelope as fit."""

from dataclasses import dataclass, field

import orjson

from federation.content.dataset import MAX_BODY_BYTES, MAX_ENTRIES, Dataset, Entry
from federation.content.policy import Policy
from federation.exchange.envelope import Draft
from registry.identifier import Prefix

__all__ = ["Packer"]


@dataclass(slots=True)
class _Open:
    owner: Prefix
    receiver: Prefix
    entries: list[Entry] = field(default_factory=list)
    size: int = 0


class Packer:
    """Fills drafts of one dataset, at most `limit`; entries of one owner stay in the order they were offered."""

    def __init__(self, *, dataset: Dataset, policy: Policy, limit: int) -> None:
        self._dataset = dataset
        self._policy = policy
        self._limit = limit
        self._open: dict[str, _Open] = {}
        self._full: list[_Open] = []

    def offer(self, owner: Prefix, receiver: Prefix, entry: Entry) -> bool:
        """Take an entry; False when no draft is left for it, and then nothing was taken."""
        shared = self._policy.apply(self._dataset, entry, owner=owner, receiver=receiver)
        size = len(orjson.dumps(shared.to_wire())) + 1
        present = self._open.get(owner.key)
        if present is not None and (
            len(present.entries) == MAX_ENTRIES or present.size + size > MAX_BODY_BYTES
        ):
            self._full.append(self._open.pop(owner.key))
            present = None
        if present is None:
            if len(self._full) + len(self._open) >= self._limit:
                return False
            present = self._open[owner.key] = _Open(owner, receiver)
        present.entries.append(shared)
        present.size += size
        return True

    def drafts(self) -> list[Draft]:
        """Return what was filled."""
        return [
            Draft(
                iss=made.owner,
                aud=made.receiver,
                stream=self._dataset.stream,
                type=self._dataset.type,
                schema=self._dataset.schema,
                body=self._dataset.body(made.entries),
            )
            for made in (*self._full, *self._open.values())
        ]
