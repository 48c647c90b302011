"""Which operation each route of what is exchanged needs; the services ask again, for the prefix at hand."""

from registry.access import Access, needs
from registry.principal import Operation

__all__ = ["ACCESS"]

ACCESS: Access = {
    "GET /exchange-entries": needs(Operation.RECORD_LIST),
    "GET /exchange-entries/{dataset}": needs(Operation.RECORD_LIST),
    "GET /exchange-entries/{dataset}/own": needs(Operation.RECORD_LIST),
    "PUT /exchange-entries/{dataset}/own": needs(Operation.RECORD_WRITE),
    "DELETE /exchange-entries/{dataset}/own": needs(Operation.RECORD_WRITE),
}
