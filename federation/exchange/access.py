"""Which operation each route of the exchange needs."""

from registry.access import ANYONE, Access, needs
from registry.principal import Operation

__all__ = ["ACCESS"]

_SESSION = needs(Operation.SESSION)

#: A session is open to anyone by its transport, and to nobody but the holder of a delegated key by what it must show.
#: Behind it the routes ask for the role `node` at one prefix: a person's login passes the guard and no further.
ACCESS: Access = {
    "POST /exchange/session": ANYONE,
    "POST /exchange/receipts": _SESSION,
    "POST /exchange/heads": _SESSION,
    "POST /exchange/epochs": _SESSION,
    "POST /exchange/proofs": _SESSION,
    "PUT /exchange/bodies/{sha256}": _SESSION,
    "GET /exchange/bodies/{sha256}": _SESSION,
    "POST /exchange/{stream}": _SESSION,
    "GET /exchange/{stream}": _SESSION,
    "GET /exchange/{stream}/sent": _SESSION,
    "POST /exchange/{stream}/{epoch}/{seq}": _SESSION,
}
