"""Where a prefix is reached, as its superior states it: the `ep` claim of a statement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from registry.errors import MalformedError
from registry.trust.claims import Claims
from registry.trust.encoding import from_b64u

__all__ = ["Endpoints"]

_MAX_URLS = 8
_MAX_URL_CHARACTERS = 512
_MAX_TEXT_CHARACTERS = 512
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the subject is reached; to be used only after the whole chain is verified.

    Attributes:
        resolve: base URLs, tried in order.
        exchange: base URL of the exchange.
        tls_x5t_s256: base64url SHA-256 of the certificate.
        log_vkey: verifier key of its log.
    """

    resolve: tuple[str, ...] = ()
    exchange: str | None = None
    tls_x5t_s256: str | None = None
    log_vkey: str | None = None

    def to_claims(self) -> dict[str, Any]:
        """Return the `ep` claim; what is not there is left out."""
        content = {
            "exchange": self.exchange,
            "tls_x5t_s256": self.tls_x5t_s256,
            "log_vkey": self.log_vkey,
        }
        return {
            "resolve": list(self.resolve),
            **{name: value for name, value in content.items() if value is not None},
        }

    @classmethod
    def from_claims(cls, content: Mapping[str, Any]) -> "Endpoints":
        """Read an `ep` claim.

        Raises:
            MalformedError: a member is of the wrong type, an address is neither https nor loopback, or the
                certificate's digest is not one.
        """
        claims = Claims(content, at="ep")
        urls = claims.array("resolve", most=_MAX_URLS) if "resolve" in content else []
        pin = claims.optional_text("tls_x5t_s256", _MAX_TEXT_CHARACTERS)
        if pin is not None:
            raw = from_b64u(pin)
            if raw is None or len(raw) != 32:  # noqa: PLR2004 — the size of SHA-256
                raise MalformedError("registry.trust.ep_pin", field="ep.tls_x5t_s256", value=pin[:64])
        exchange = claims.optional_text("exchange", _MAX_URL_CHARACTERS)
        return cls(
            resolve=tuple(_url(url, "ep.resolve") for url in urls),
            exchange=None if exchange is None else _url(exchange, "ep.exchange"),
            tls_x5t_s256=pin,
            log_vkey=claims.optional_text("log_vkey", _MAX_TEXT_CHARACTERS),
        )


def _url(url: object, at: str) -> str:
    if (
        not isinstance(url, str)
        or len(url) > _MAX_URL_CHARACTERS
        or not url.isascii()
        or not url.isprintable()
    ):
        raise MalformedError("registry.trust.ep_url", field=at, value=str(url)[:64])
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise MalformedError("registry.trust.ep_url", field=at, value=url[:64]) from None
    plain = parts.scheme == "http" and host in _LOOPBACK
    odd = "@" in parts.netloc or parts.query or parts.fragment or " " in url or "\\" in url
    if not host or odd or not (parts.scheme == "https" or plain):
        raise MalformedError("registry.trust.ep_url", field=at, value=url[:64])
    return url
