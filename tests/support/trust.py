"""Roots, chains and keys for tests: real ones, the same at every run.

root = a_root()                                     # signers, document, anchor
chain = a_chain("88", "88.107", "88.107.1001")      # every tier delegated by the one before
chain.tokens                                        # leaf first
chain.signers["88.107"], chain.anchor, chain.verified("88.107")
record = sign_record(a_record("88.107.1001/BATCH-1"), chain.signer, chain.prefix)
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.identifier import Identifier, Prefix
from registry.record import Record, Status
from registry.trust import jws
from registry.trust.chain import Marks, VerifiedChain, verify_chain
from registry.trust.keys import KeySigner, Signer
from registry.trust.root import Anchor, RootDocument, fingerprint, make_root, read_root
from registry.trust.statement import STATEMENT_TYPE, Endpoints, StatementKey, full_rights, issue
from registry.value import Value

__all__ = [
    "ALGS",
    "DAY",
    "NOW",
    "Chain",
    "Root",
    "a_chain",
    "a_record",
    "a_root",
    "a_signer",
    "a_statement",
    "a_value",
    "altered",
]

#: 2026-09-21T14:13:20Z
NOW = 1_790_000_000
DAY = 86_400
ALGS = ("Ed25519", "ES256")

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def a_signer(name: str = "key", alg: str = "Ed25519") -> KeySigner:
    """The signer of this name: one name, one key."""
    seed = hashlib.sha256(f"{alg}:{name}".encode()).digest()
    if alg == "Ed25519":
        return KeySigner(Ed25519PrivateKey.from_private_bytes(seed))
    return KeySigner(ec.derive_private_key(int.from_bytes(seed, "big") % _P256_ORDER or 1, ec.SECP256R1()))


@dataclass(frozen=True)
class Root:
    """A root with its signers."""

    signers: tuple[Signer, ...]
    text: str
    document: RootDocument
    anchor: Anchor

    @property
    def fingerprint(self) -> str:
        return self.anchor.fingerprint


def a_root(
    *names: str,
    threshold: int = 1,
    algs: Sequence[str] = ALGS,
    iat: int = NOW - DAY,
    exp: int = NOW + 3650 * DAY,
) -> Root:
    """A root of version 1, signed by all of its keys."""
    signers = tuple(a_signer(name) for name in names or ("root",))
    text = make_root(signers, threshold, algs=algs, iat=iat, exp=exp)
    document = read_root(text)
    return Root(signers, text, document, Anchor(document, fingerprint(document)))


def a_statement(subject: str, issuer: str | None, **other: Any) -> str:
    """A statement; what is not said is as good as it gets."""
    prefix = Prefix.parse(subject)
    signer = other.pop("signer", None) or a_signer(issuer or "root")
    iat = other.pop("iat", NOW - 3600)
    content: dict[str, Any] = {
        "issuer": Prefix.parse(issuer) if issuer else None,
        "subject": prefix,
        "keys": (StatementKey.of(a_signer(subject), nbf=iat),),
        "perms": full_rights(prefix),
        "algs": ALGS,
        "max_path": max(0, 8 - len(prefix.labels)),
        "endpoints": Endpoints(resolve=(f"https://{subject}.example",)),
        "ver": 1,
        "iat": iat,
        "nbf": iat,
        # one second less for each tier, so that each expires before its superior
        "exp": NOW + 90 * DAY - len(prefix.labels),
    }
    if other.get("state", "active") != "active":
        content["perms"] = ()
    return issue(signer, **{**content, **other})


def altered(token: str, signer: Signer, *, without: Sequence[str] = (), **claims: Any) -> str:
    """The same statement with other claims, signed by `signer`: what `issue` would refuse to sign."""
    content = jws.parse(token, typ=STATEMENT_TYPE).claims() | claims
    for name in without:
        del content[name]
    return jws.sign(signer, STATEMENT_TYPE, orjson.dumps(content))


@dataclass(frozen=True)
class Chain:
    """A root and one statement for each prefix, each by the one before it."""

    root: Root
    prefixes: tuple[str, ...]
    by_prefix: Mapping[str, str]
    signers: Mapping[str, Signer] = field(repr=False)

    @property
    def anchor(self) -> Anchor:
        return self.root.anchor

    @property
    def tokens(self) -> tuple[str, ...]:
        """All statements, leaf first."""
        return tuple(self.by_prefix[name] for name in reversed(self.prefixes))

    @property
    def prefix(self) -> Prefix:
        """The last prefix."""
        return Prefix.parse(self.prefixes[-1])

    @property
    def signer(self) -> Signer:
        """The signer of the last prefix."""
        return self.signers[self.prefixes[-1]]

    def tokens_of(self, prefix: str) -> tuple[str, ...]:
        """The chain of one of the prefixes, leaf first."""
        upto = self.prefixes[: self.prefixes.index(prefix) + 1]
        return tuple(self.by_prefix[name] for name in reversed(upto))

    def verified(
        self, prefix: str | None = None, *, now: float = NOW, marks: Marks | None = None
    ) -> VerifiedChain:
        """The chain of one prefix (the last when not said), verified."""
        tokens = self.tokens_of(prefix or self.prefixes[-1])
        return verify_chain(tokens, anchor=self.anchor, now=now, marks=marks)


def a_chain(
    *prefixes: str, root: Root | None = None, changed: Mapping[str, Mapping[str, Any]] | None = None
) -> Chain:
    """A chain down the prefixes; `changed` gives what is special about the statement of one of them."""
    names = prefixes or ("88", "88.107", "88.107.1001")
    made = {
        name: a_statement(name, above, **(changed or {}).get(name, {}))
        for name, above in zip(names, (None, *names[:-1]), strict=True)
    }
    return Chain(root or a_root(), names, made, {name: a_signer(name) for name in names})


def a_value(index: int = 2000, type_: str = "CAS_NO", data: str | bytes = "7664-93-9", **other: Any) -> Value:
    """A public value, or with a salt what is not."""
    content = data.encode() if isinstance(data, str) else data
    made = Value(index, type_, content, **{"timestamp": NOW - 60, **other})
    return made.seen_as(made.visibility)


def a_record(
    identifier: str = "88.107.1001/BATCH-1", *values: Value, status: Status = Status.ACTIVE, **other: Any
) -> Record:
    """A record that is not signed yet."""
    content: dict[str, Any] = {"kind": "batch", "version": 1, "modified": NOW - 60}
    return Record(
        identifier=Identifier.parse(identifier),
        status=status,
        values=values or (a_value(1, "URL", "https://e.example/b1"), a_value()),
        **{**content, **other},
    )
