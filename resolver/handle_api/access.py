"""Which operation each route of the Handle API needs."""

from registry.access import ANYONE, Access, needs
from registry.principal import Operation

__all__ = ["ACCESS"]

_READ, _WRITE = needs(Operation.RECORD_LIST), needs(Operation.RECORD_WRITE)
_DELEGATE = needs(Operation.PREFIX_DELEGATE)

ACCESS: Access = {
    "GET /api/handles": _READ,
    "HEAD /api/handles": _READ,
    "OPTIONS /api/handles": ANYONE,
    "GET /api/handles/{handle:path}": ANYONE,
    "HEAD /api/handles/{handle:path}": ANYONE,
    "POST /api/handles/{handle:path}": ANYONE,
    "OPTIONS /api/handles/{handle:path}": ANYONE,
    "PUT /api/handles/{handle:path}": _WRITE,
    "DELETE /api/handles/{handle:path}": _WRITE,
    "GET /api/prefixes": _READ,
    "POST /api/prefixes/{prefix:path}": _DELEGATE,
    "DELETE /api/prefixes/{prefix:path}": _DELEGATE,
    "GET /api/site": ANYONE,
    "GET /api/sessions/this": ANYONE,
    "POST /api/sessions": ANYONE,
    "PUT /api/sessions/this": ANYONE,
    "DELETE /api/sessions/this": ANYONE,
    "GET /api/verifications/{reference:path}": ANYONE,
    "GET /hrls/handles": _READ,
    "GET /hrls/handles/{prefix:path}": _READ,
    "GET /hrls/ping": ANYONE,
}
