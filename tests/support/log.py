"""Logs for tests: keys, leaves, marks, a filled log.

log = a_log(database, 5)             # leaves entry-0 … entry-4, one checkpoint
log.writer, log.reader, log.marks, log.append(3), log.publish()
"""

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.log.leaf import Leaf
from federation.log.merkle import leaf_hash
from federation.log.note import COSIGNATURE, key_of
from federation.log.reading import LogReader
from federation.log.storage import LogUnit
from federation.log.writer import LogWriter
from registry.errors import UntrustedError
from registry.trust.encoding import b64u
from registry.trust.keys import KeySigner
from tests.support.trust import NOW

#: The secret seeds of RFC 8032 §7.1, tests 1 and 2.
RFC8032_1 = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
RFC8032_2 = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")

ORIGIN = "node.example/log1"
WITNESS = "top.example/w1"


def a_log_signer(seed=RFC8032_1):
    """A signer over a secret seed, or over a name."""
    if isinstance(seed, str):
        seed = hashlib.sha256(seed.encode()).digest()
    return KeySigner(Ed25519PrivateKey.from_private_bytes(seed))


LOG_SIGNER = a_log_signer(RFC8032_1)
WITNESS_SIGNER = a_log_signer(RFC8032_2)
LOG_KEY = key_of(ORIGIN, LOG_SIGNER)
WITNESS_KEY = key_of(WITNESS, WITNESS_SIGNER, kind=COSIGNATURE)


def entries(count, first=0, word="entry"):
    """Entries `entry-0`, `entry-1`, … as the worked example has them."""
    return [f"{word}-{number}".encode() for number in range(first, first + count)]


def entry_hashes(count, first=0):
    return [leaf_hash(entry) for entry in entries(count, first)]


def a_leaf(number=1, *, kind="in", **changes):
    """A leaf about the envelope of this number."""
    given = {
        "kind": kind,
        "env": env_of(number),
        "iss": "0.NA/88.107.1001",
        "aud": "0.NA/88.107",
        "stream": "register",
        "epoch": 1,
        "seq": number,
        "at": NOW + number,
    }
    if kind in {"in", "ack"}:
        given |= {"outcome": "accepted", "code": "ok"}
    if kind == "ack":
        given["rcpt"] = b64u(hashlib.sha256(f"receipt {number}".encode()).digest())
    return Leaf(**given | changes)


def env_of(number):
    return b64u(hashlib.sha256(f"envelope {number}".encode()).digest())


def real_leaves(count, first=0):
    """Encoded leaves about envelopes."""
    return [a_leaf(number).encode() for number in range(first, first + count)]


class ListHashes:
    """Every hash of a tree in memory, the plainest way there is: what the tiles are compared with."""

    def __init__(self, leaf_hashes):
        self.leaves = list(leaf_hashes)

    def read(self, nodes):
        return [self._hash(index << level, (index + 1) << level) for level, index in nodes]

    def _hash(self, first, end):
        if end > len(self.leaves):
            raise KeyError((first, end))
        return plain_root(self.leaves[first:end])


def plain_root(hashes):
    """RFC 6962 §2.1, word by word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    left, right = plain_root(hashes[:split]), plain_root(hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass
class MemoryMarks:
    """The memory outside the database, as the port demands it."""

    known: dict = field(default_factory=dict)
    failing: Exception | None = None

    def checkpoint(self, origin):
        return self.known.get(origin)

    def raise_checkpoint(self, origin, size, root):
        if self.failing is not None:
            raise self.failing
        old = self.known.get(origin)
        if old is not None and (size < old[0] or (size == old[0] and root != old[1])):
            raise UntrustedError("federation.marks.fork", field="root", origin=origin, value=size)
        self.known[origin] = (size, root)


@dataclass
class SteppingClock:
    """A clock that stands until it is moved."""

    at: float = NOW

    def now(self):
        return self.at

    def monotonic(self):
        return self.at

    async def sleep(self, seconds):
        self.at += seconds


@dataclass
class ALog:
    """A log in a database, with its writer and reader."""

    database: object
    marks: MemoryMarks
    clock: SteppingClock
    signer: KeySigner
    origin: str
    writer: LogWriter
    reader: LogReader

    @property
    def key(self):
        return key_of(self.origin, self.signer)

    def append(self, leaves):
        with self.database.write() as connection:
            return LogUnit(connection).append(leaves)

    def publish(self):
        return self.writer.publish()

    def restarted(self):
        """The same log with a new writer: what a restart of the process makes."""
        writer = LogWriter(self.database, self.signer, self.origin, self.marks, self.clock)
        return ALog(
            self.database, self.marks, self.clock, self.signer, self.origin, writer, LogReader(self.database)
        )


def a_log(database, leaves=(), *, origin=ORIGIN, signer=LOG_SIGNER, marks=None, clock=None, **how):
    """A log with these leaves (a number: so many of the worked example), published when there are any."""
    marks, clock = marks or MemoryMarks(), clock or SteppingClock()
    writer = LogWriter(database, signer, origin, marks, clock, **how)
    made = ALog(database, marks, clock, signer, origin, writer, LogReader(database))
    leaves = entries(leaves) if isinstance(leaves, int) else leaves
    if leaves:
        made.append(leaves)
        made.publish()
    return made
