"""Which operation each route of escrow needs; the services ask again, for the prefix at hand."""

from registry.access import Access, needs
from registry.principal import Operation

__all__ = ["ACCESS"]

ACCESS: Access = {
    "GET /escrow/held": needs(Operation.PREFIX_DELEGATE),
    "GET /escrow/made": needs(Operation.AUDIT_READ),
    "GET /escrow/takeovers": needs(Operation.AUDIT_READ),
    "POST /escrow/{prefix}/check": needs(Operation.PREFIX_DELEGATE),
    "POST /escrow/{prefix}/takeover": needs(Operation.PREFIX_DELEGATE),
    "DELETE /escrow/{prefix}/takeover": needs(Operation.PREFIX_DELEGATE),
}
