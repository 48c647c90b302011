"""Evidence for tests: a whole small federation that signs, logs and witnesses, with a Merkle tree of its own.

world = a_world()                       # 88 → 88.107 → 88.107.1001, roots of three generations
content = evidence(world)               # 88.107.1001 sent to 88.107; its log is witnessed by 88
data = canonical(content)
verify(data, world.anchor).holds

The tree and the notes are written from their definitions (RFC 6962 §2.1, signed notes), recursively and slowly, so that
they share nothing with what is tested.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from federation.evidence.verifier import EVIDENCE_TYPE
from registry.trust import jws
from registry.trust.chain import chain_sha256
from registry.trust.encoding import b64u
from registry.trust.keys import KeySigner, Signer
from registry.trust.root import fingerprint, make_root, read_root
from registry.trust.statement import Endpoints, StatementKey
from tests.support.trust import DAY, NOW, a_signer, a_statement

__all__ = [
    "ANOTHER",
    "ENTERPRISE",
    "PARK",
    "TOP",
    "NoteKey",
    "Tree",
    "World",
    "a_revocation",
    "a_tree",
    "a_world",
    "an_envelope",
    "evidence",
    "inner_evidence",
    "tlog_proof",
]

TOP, PARK, ENTERPRISE, ANOTHER = "88", "88.107", "88.107.1001", "88.107.1002"


# --- A Merkle tree, by its definition ----------------------------------------------------------------------------


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def _split(size: int) -> int:
    half = 1
    while half * 2 < size:
        half *= 2
    return half


def tree_root(leaves: Sequence[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    half = _split(len(leaves))
    return hashlib.sha256(b"\x01" + tree_root(leaves[:half]) + tree_root(leaves[half:])).digest()


def path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The audit path of one leaf, from the leaf up."""
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*path(index, leaves[:half]), tree_root(leaves[half:])]
    return [*path(index - half, leaves[half:]), tree_root(leaves[:half])]


# --- Signed notes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoteKey:
    """A key that signs notes: type 1 a log's, type 4 a witness's."""

    name: str
    seed: bytes
    kind: int = 1

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    @property
    def signer(self) -> Signer:
        return KeySigner(self.private)

    @property
    def material(self) -> bytes:
        raw = self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return bytes([self.kind]) + raw

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self.material).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(self.material).decode()}"

    def as_witness(self, name: str | None = None) -> "NoteKey":
        return NoteKey(name or self.name, self.seed, 4)

    def line(self, text: str, at: int = 0) -> str:
        """The signature line over a checkpoint's text."""
        if self.kind == 1:
            made = self.private.sign(text.encode())
        else:
            made = at.to_bytes(8, "big") + self.private.sign(
                f"cosignature/v1\ntime {at}\n".encode() + text.encode()
            )
        return f"— {self.name} {base64.b64encode(self.id + made).decode()}\n"


def a_note_key(name: str, kind: int = 1, generation: int = 1) -> NoteKey:
    return NoteKey(name, hashlib.sha256(f"note:{name}:{generation}".encode()).digest(), kind)


@dataclass
class Tree:
    """A log: its key, its leaves, and who witnesses its checkpoints at which time."""

    key: NoteKey
    leaves: list[bytes] = field(default_factory=list)
    witnesses: list[tuple[NoteKey, int]] = field(default_factory=list)

    def add(self, leaf: bytes) -> int:
        self.leaves.append(leaf)
        return len(self.leaves) - 1

    def checkpoint(self) -> str:
        root = base64.b64encode(tree_root(self.leaves)).decode()
        text = f"{self.key.name}\n{len(self.leaves)}\n{root}\n"
        lines = [self.key.line(text), *(witness.line(text, at) for witness, at in self.witnesses)]
        return f"{text}\n{''.join(lines)}"

    def proof(self, index: int) -> str:
        return tlog_proof(index, path(index, self.leaves), self.checkpoint())


def tlog_proof(index: int, hashes: Sequence[bytes], checkpoint: str) -> str:
    rows = "".join(base64.b64encode(one).decode() + "\n" for one in hashes)
    return f"c2sp.org/tlog-proof@v1\nindex {index}\n{rows}\n{checkpoint}"


def a_tree(key: NoteKey, *, before: int = 5, witnesses: Sequence[tuple[NoteKey, int]] = ()) -> Tree:
    """A log that already has some entries of others."""
    return Tree(key, [f"earlier-{number}".encode() for number in range(before)], list(witnesses))


# --- Who there is --------------------------------------------------------------------------------------------------


@dataclass
class World:
    """Roots and the chains of one generation of keys, with a log for each prefix.

    Attributes:
        at: when things are received in this generation.
        statements: prefix → statement.
    """

    roots: tuple[str, ...]
    at: int
    statements: dict[str, str]
    signers: dict[str, Signer]
    logs: dict[str, NoteKey]

    @property
    def anchor(self) -> str:
        return fingerprint(read_root(self.roots[0]))

    def chain(self, prefix: str) -> list[str]:
        labels = prefix.split(".")
        return [self.statements[".".join(labels[:n])] for n in range(len(labels), 0, -1)]


GENERATION = 200 * DAY


def the_roots(generations: int = 3) -> tuple[str, ...]:
    """Root versions 1, 2, 3, each by the two keys of its own and by the two of the one before."""
    made = []
    for ver in range(1, generations + 1):
        own = [a_signer(f"root-{ver}-{who}") for who in "ab"]
        old = [a_signer(f"root-{ver - 1}-{who}") for who in "ab"] if ver > 1 else []
        iat = NOW + (ver - 1) * GENERATION
        made.append(
            make_root(
                [*own, *old],
                2,
                algs=("Ed25519", "ES256"),
                iat=iat - DAY,
                exp=iat + 2 * GENERATION,
                ver=ver,
                keys=own,
            )
        )
    return tuple(made)


def a_world(
    generation: int = 1,
    *,
    generations: int = 3,
    alg: str = "Ed25519",
    changed: Mapping[str, Mapping[str, Any]] | None = None,
) -> World:
    """The federation as it stood in one generation of keys; the roots always reach to the last one."""
    start = NOW + (generation - 1) * GENERATION
    prefixes = (TOP, PARK, ENTERPRISE, ANOTHER)
    signers: dict[str, Signer] = {name: a_signer(f"{name}-{generation}", alg) for name in prefixes}
    logs = {name: a_note_key(f"{name}/log{generation}", 1, generation) for name in prefixes}
    statements = {}
    for name in prefixes:
        above = name.rpartition(".")[0] or None
        content: dict[str, Any] = {
            "signer": signers[above] if above else a_signer(f"root-{generation}-a"),
            "keys": (
                StatementKey.of(signers[name], nbf=start - 3600),
                StatementKey.of(logs[name].signer, nbf=start - 3600, use="log"),
            ),
            "endpoints": Endpoints(log_vkey=logs[name].vkey),
            "iat": start - 3600,
            "exp": start + 90 * DAY - len(name),
            "ver": generation,
        }
        statements[name] = a_statement(name, above, **{**content, **(changed or {}).get(name, {})})
    return World(the_roots(generations), start, statements, signers, logs)


# --- What they send ------------------------------------------------------------------------------------------------

_REFERENCE = {"prefix": ENTERPRISE, "identifiers": [f"{ENTERPRISE}/BATCH-1", f"{ENTERPRISE}/BATCH-2"]}


def an_envelope(
    world: World,
    sender: str = ENTERPRISE,
    receiver: str = PARK,
    *,
    signer: Signer | None = None,
    inline_chain: bool = True,
    raw: bytes | None = None,
    **claims: Any,
) -> str:
    """An envelope as its sender signs it; `raw` replaces the payload."""
    chain = world.chain(sender)
    content = {
        "iss": f"0.NA/{sender}",
        "aud": f"0.NA/{receiver}",
        "stream": "register",
        "epoch": 1,
        "seq": 7,
        "prev": b64u(hashlib.sha256(b"before").digest()),
        "jti": "01996e3c-8d00-7000-8000-000000000001",
        "iat": world.at - 5,
        "type": "dataset.entries",
        "schema": "example/1",
        "chain": chain if inline_chain else chain_sha256(chain),
        "body": {"what": "危化品批次", **_REFERENCE},
        **claims,
    }
    content = {name: value for name, value in content.items() if value is not None}
    payload = orjson.dumps(content) if raw is None else raw
    return jws.sign(signer or world.signers[sender], "hz-envelope+jws", payload)


def _digest(token: str) -> str:
    return b64u(hashlib.sha256(token.rpartition(".")[0].encode()).digest())


def _claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    try:
        return orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except orjson.JSONDecodeError:
        return {}


def inner_evidence(
    world: World,
    envelope: str,
    sender: str = ENTERPRISE,
    receiver: str = PARK,
    *,
    witnesses: Sequence[tuple[NoteKey, int]] = (),
    own_log: bool = False,
    receipt: Mapping[str, Any] | None = None,
    receipt_signer: Signer | None = None,
    leaf: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What proves the receipt of one envelope; `receipt` and `leaf` change single members of those."""
    claims = {"stream": "register", "epoch": 1, "seq": 7, "iat": world.at, **_claims(envelope)}
    common = {"env": _digest(envelope), "iss": f"0.NA/{sender}", "aud": f"0.NA/{receiver}"}
    common |= {name: claims[name] for name in ("stream", "epoch", "seq")}
    outcome = {"outcome": "accepted", "code": "ok"}
    outcome |= {name: value for name, value in (receipt or {}).items() if name in outcome}
    received = (receipt or {}).get("received_at", world.at)
    entry = {"v": 1, "kind": "in", **common, **outcome, "at": received, **(leaf or {})}
    raw = orjson.dumps(entry)
    tree = a_tree(world.logs[receiver], witnesses=witnesses)
    index = tree.add(raw)
    tree.add(b"later")
    said = {
        **common,
        "iss": common["aud"],
        "aud": common["iss"],
        **outcome,
        "received_at": received,
        "leaf_index": index,
        "leaf": b64u(leaf_hash(raw)),
        "credit": 1000,
        **(receipt or {}),
    }
    signed = jws.sign(receipt_signer or world.signers[receiver], "hz-receipt+jws", orjson.dumps(said))
    made = {
        "sender_chain": world.chain(sender),
        "receiver_chain": world.chain(receiver),
        "receipt": signed,
        "leaf": b64u(raw),
        "proof": tree.proof(index),
    }
    if own_log:
        out = orjson.dumps({"v": 1, "kind": "out", **common, "at": claims["iat"]})
        ack = orjson.dumps(
            {"v": 1, "kind": "ack", **common, **outcome, "rcpt": _digest(signed), "at": received}
        )
        mine = a_tree(world.logs[sender], before=2, witnesses=witnesses)
        first, second = mine.add(out), mine.add(ack)
        made |= {"sender_leaf": b64u(out), "sender_proof": mine.proof(first)}
        made |= {"ack_leaf": b64u(ack), "ack_proof": mine.proof(second)}
    return made


def evidence(
    world: World,
    *,
    envelope: str | None = None,
    sender: str = ENTERPRISE,
    receiver: str = PARK,
    witness: str | None = TOP,
    witnessed_at: int | None = None,
    witness_chain: list[str] | None = None,
    revocations: Sequence[Mapping[str, Any]] = (),
    historical: Sequence[Mapping[str, Any]] = (),
    body: bytes | None = None,
    inner: Mapping[str, Any] | None = None,
    **other: Any,
) -> dict[str, Any]:
    """The content of a whole file of evidence; what is not said is as good as it gets."""
    token = envelope or an_envelope(world, sender, receiver)
    witnesses = []
    rows = []
    if witness is not None:
        key = world.logs[witness].as_witness(f"{witness}/witness")
        witnesses.append((key, world.at + 3 if witnessed_at is None else witnessed_at))
        rows.append({"vkey": key.vkey, "chain": witness_chain or world.chain(witness)})
    made = {
        "type": EVIDENCE_TYPE,
        "anchor": world.anchor,
        "roots": list(world.roots),
        "envelope": token,
        "revocations": list(revocations),
        "historical": list(historical),
        "witnesses": rows,
        **inner_evidence(world, token, sender, receiver, witnesses=witnesses, **other),
    }
    if body is not None:
        made["body"] = b64u(body)
    if inner is not None:
        made["inner"] = dict(inner)
    return made


def a_revocation(
    world: World,
    issuer: str | None,
    kid: str,
    revoked_at: int,
    *,
    signer: Signer | None = None,
    typ: str = "hz-revocation+jws",
    **entry: Any,
) -> dict[str, Any]:
    """A revocation list with one key, and the chain of its issuer; None is the root."""
    claims = {
        "iss": f"300:0.NA/{issuer or '0.NA'}",
        "ver": 1,
        "iat": revoked_at + 60,
        "exp": revoked_at + 30 * DAY,
        "revoked": [{"kid": kid, "revoked_at": revoked_at, "reason": "compromised", **entry}],
    }
    by = signer or (world.signers[issuer] if issuer else a_signer("root-1-a"))
    return {
        "token": jws.sign(by, typ, orjson.dumps(claims)),
        "chain": world.chain(issuer) if issuer else [],
    }
