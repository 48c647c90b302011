"""Proof of possession: whoever asks that a key be certified shows that they hold it, to us, now.

A compact JWS of type `hz-pop+jws` by the new key over `{aud, sub, nonce, iat}` (facts on federation, (a) "key
admission"). The nonce comes from the one who asks for the proof, is 32 random bytes and good once, within ten
minutes; that it was given out, and is used once only, is checked by whoever
gave it out, which is why the proof hands the nonce back. When a key is rotated the same claims
are signed by the old key as well.
"""

import orjson

from registry.errors import UnauthenticatedError
from registry.trust import jws
from registry.trust.algorithms import PublicKey
from registry.trust.claims import Claims
from registry.trust.encoding import from_b64u
from registry.trust.keys import Signer
from registry.trust.refusal import as_unauthenticated
from registry.trust.statement import LEEWAY_SECONDS

__all__ = ["NONCE_BYTES", "POSSESSION_SECONDS", "POSSESSION_TYPE", "make_possession", "verify_possession"]

POSSESSION_TYPE = "hz-pop+jws"
POSSESSION_SECONDS = 600
NONCE_BYTES = 32
_MAX_BYTES = 4096


def make_possession(signer: Signer, *, audience: str, subject: str, nonce: str, iat: int) -> str:
    """Prove possession of `signer`'s key.

    Args:
        signer: the new key, or the old one beside it.
        audience: handle of the prefix that asks for the proof, for example `0.NA/88.107`.
        subject: handle of the prefix the key is for.
        nonce: as received.
        iat: POSIX seconds.
    """
    claims = {"aud": audience, "sub": subject, "nonce": nonce, "iat": iat}
    return jws.sign(signer, POSSESSION_TYPE, orjson.dumps(claims))


def verify_possession(token: str, key: PublicKey, *, audience: str, subject: str, now: float) -> str:
    """Check a proof of possession of `key` and return its nonce, which the caller must know and use up.

    Raises:
        UnauthenticatedError: unreadable; by another key; for another audience or subject; too old, or from the
            future; a nonce that is not 32 bytes of base64url.
    """
    with as_unauthenticated():
        parsed = jws.parse(token, typ=POSSESSION_TYPE, max_bytes=_MAX_BYTES)
        jws.verify(parsed, key)
        claims = Claims(parsed.claims())
        shown = {name: claims.text(name) for name in ("aud", "sub", "nonce")}
        iat = claims.integer("iat")
    for name, right in (("aud", audience), ("sub", subject)):
        if shown[name] != right:
            raise UnauthenticatedError(
                f"registry.trust.pop_{name}", field=name, value=shown[name][:128], right=right
            )
    if not now - POSSESSION_SECONDS <= iat <= now + LEEWAY_SECONDS:
        raise UnauthenticatedError(
            "registry.trust.pop_time", field="iat", value=iat, now=int(now), seconds=POSSESSION_SECONDS
        )
    raw = from_b64u(shown["nonce"])
    if raw is None or len(raw) != NONCE_BYTES:
        raise UnauthenticatedError("registry.trust.pop_nonce", field="nonce", right=NONCE_BYTES)
    return shown["nonce"]
