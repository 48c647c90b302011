"""Which operation each route of the queries needs."""

from registry.access import Access, needs
from registry.principal import Operation

__all__ = ["ACCESS"]

#: Asking, and reading what was asked, is for auditors of the asking prefix; what was asked *of* a prefix is for all
#: of its people. The service looks at the prefix itself.
ACCESS: Access = {
    "POST /queries": needs(Operation.AUDIT_READ),
    "GET /queries": needs(Operation.AUDIT_READ),
    "GET /queries/received": needs(Operation.RECORD_LIST),
    "GET /queries/{query}": needs(Operation.AUDIT_READ),
}
