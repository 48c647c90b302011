"""Which operation each route of the log needs."""

from registry.access import ANYONE, Access, needs
from registry.principal import Operation

__all__ = ["ACCESS"]

#: Hashes and checkpoints tell nothing about who wrote to whom, and a proof is found only by the hash of an envelope,
#: which nobody can guess. Entries name sender and receiver: they are for those who watch over this node. A witness's
#: caller proves itself by the log's signature; who sends or gets entries of a mirror must be the log's owner.
ACCESS: Access = {
    "GET /log/checkpoint": ANYONE,
    "GET /log/tile/entries/{path:path}": needs(Operation.NODE_OBSERVE),
    "GET /log/tile/{level}/{path:path}": ANYONE,
    "POST /log/cosignatures": needs(Operation.SESSION),
    "GET /proof/{env}": ANYONE,
    "POST /witness/add-checkpoint": ANYONE,
    "GET /witness/{digest}/checkpoint": ANYONE,
    "POST /witness/{digest}/entries": needs(Operation.SESSION),
    "GET /witness/{digest}/entries": needs(Operation.SESSION),
}
