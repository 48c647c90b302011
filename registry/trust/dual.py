"""Two signatures, both needed: for what must outlive the fall of one algorithm.

A JWS in the general form whose signers are fixed beforehand. There is no "any of": the reader says which keys must
have signed, and what lacks one, has one too many, or carries one that does not fit, is refused as a whole. So neither
taking a signature away nor breaking the weaker algorithm helps anybody.
"""

from collections.abc import Sequence

from registry.errors import InvalidValueError, UntrustedError
from registry.trust import jws
from registry.trust.algorithms import PublicKey
from registry.trust.keys import Signer
from registry.trust.refusal import as_untrusted

__all__ = ["sign_all", "verify_all"]

_LEAST = 2


def sign_all(signers: Sequence[Signer], typ: str, payload: bytes) -> str:
    """Return one payload under the signatures of all `signers`, in the general JSON form.

    Raises:
        InvalidValueError: fewer than two signers, or two of one algorithm.
    """
    algs = [signer.alg for signer in signers]
    if len(algs) < _LEAST or len(set(algs)) != len(algs):
        raise InvalidValueError("registry.trust.dual_algorithms", field="signatures", algs=", ".join(algs))
    return jws.sign_general(signers, typ, payload)


def verify_all(
    text: str, typ: str, keys: Sequence[PublicKey], *, max_bytes: int = jws.MAX_TOKEN_BYTES
) -> bytes:
    """Return the payload, if exactly these keys signed it, every one.

    Args:
        text: as received.
        typ: what the token must be for.
        keys: all that must have signed; of different algorithms.
        max_bytes: longest text to read.

    Raises:
        UntrustedError: unreadable; fewer than two keys asked for, or two of one algorithm; a signature is missing,
            is there twice, is by another key, or does not fit.
    """
    wanted = {key.kid: key for key in keys}
    if len(wanted) < _LEAST or len({key.alg for key in wanted.values()}) != len(wanted):
        algs = ", ".join(key.alg for key in keys)
        raise UntrustedError("registry.trust.dual_algorithms", field="signatures", algs=algs)
    with as_untrusted():
        signatures = jws.parse_general(text, typ=typ, max_bytes=max_bytes)
    kids = [parsed.kid for parsed in signatures]
    if sorted(kids) != sorted(wanted):
        raise UntrustedError(
            "registry.trust.dual_signers", field="signatures", count=len(kids), right=len(wanted)
        )
    for parsed in signatures:
        jws.verify(parsed, wanted[parsed.kid])
    return signatures[0].payload
