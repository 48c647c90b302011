"""proofs: how many inclusion proofs a second one processor verifies in a log of about a million entries.

    hazlink bench proofs [--records 1048576] [--rounds 5] [--proofs 4000] [--json FILE]

The subject is `federation.log.merkle.verify_inclusion` over proofs of entries in no order, each with as many hashes as
the tree is high. The floor hashes as often and as much, and does nothing else; they take turns. Beside them stands the
verifier that is handed to others, which shares no code with the log. Target: at least 20,000 proofs a second.
"""

import hashlib
import time
from collections.abc import Callable, Sequence

from federation.evidence.verifier import check_inclusion
from federation.log.merkle import Node, inclusion, leaf_hash, node_hash, root_at, verify_inclusion
from tests.bench._harness import Figure, Series, options_of, report

__all__ = ["InMemory", "Proof", "proofs_of", "run"]

TARGET = 20_000
_HASH = 32
#: A prime that is no factor of any size used here: entries come in no order, and none comes twice.
_STEP = 7_919

Proof = tuple[bytes, int, list[bytes]]


class InMemory:
    """The complete subtrees over `size` leaves, level by level; implements `federation.log.merkle.Hashes`."""

    def __init__(self, size: int) -> None:
        self.size = size
        level = b"".join(leaf_hash(b"entry-%d" % number) for number in range(size))
        self._levels = [level]
        while len(level) > _HASH:
            whole = len(level) // (2 * _HASH) * 2 * _HASH
            level = b"".join(
                node_hash(level[at : at + _HASH], level[at + _HASH : at + 2 * _HASH])
                for at in range(0, whole, 2 * _HASH)
            )
            self._levels.append(level)

    def read(self, nodes: Sequence[Node]) -> list[bytes]:
        return [self._levels[level][_HASH * at : _HASH * (at + 1)] for level, at in nodes]


def proofs_of(tree: InMemory, count: int) -> list[Proof]:
    """Make proofs of entries in no order: (leaf hash, index, hashes)."""
    made = []
    for number in range(count):
        index = number * _STEP % tree.size
        made.append((tree.read([(0, index)])[0], index, inclusion(tree, index, tree.size)))
    return made


def _rate(verify: Callable[..., bool], proofs: Sequence[Proof], size: int, root: bytes) -> float:
    began = time.perf_counter()
    for leaf, index, hashes in proofs:
        if not verify(leaf, index, size, hashes, root):
            raise SystemExit(f"the proof of entry {index} does not hold")
    return len(proofs) / (time.perf_counter() - began)


def _floor(proofs: Sequence[Proof]) -> float:
    """Hash what a proof makes one hash, and nothing else."""
    sha256 = hashlib.sha256
    began = time.perf_counter()
    for leaf, _, hashes in proofs:
        made = leaf
        for one in hashes:
            made = sha256(b"\x01" + made + one).digest()
    return len(proofs) / (time.perf_counter() - began)


def run(argv: Sequence[str]) -> int:
    options = options_of("proofs", argv, records=1 << 20, rounds=5, proofs=4_000)
    started = time.monotonic()
    tree = InMemory(options.records)
    root = root_at(tree, tree.size)
    proofs = proofs_of(tree, min(options.proofs, options.records))
    ours, alone, floor = Series("verify_inclusion"), Series("stand-alone"), Series("hashing alone")
    for _ in range(options.rounds):
        ours.rates.append(_rate(verify_inclusion, proofs, tree.size, root))
        floor.rates.append(_floor(proofs))
        alone.rates.append(_rate(check_inclusion, proofs, tree.size, root))
    figure = Figure(
        f"inclusion proofs verified, {options.records:,} leaves, one processor",
        ours.rate,
        "proofs/s",
        TARGET,
        detail={
            "floor (the same hashes, nothing else)": floor.rate,
            "ratio": ours.beside(floor),
            "stand-alone verifier": alone.rate,
            "hashes a proof": sum(len(hashes) for _, _, hashes in proofs) / len(proofs),
        },
    )
    return report("proofs", [figure], started=started, as_json=options.json)


if __name__ == "__main__":
    import sys

    raise SystemExit(run(sys.argv[1:]))
