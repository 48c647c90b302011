"""Which operation each route of membership needs."""

from registry.access import ANYONE, Access

__all__ = ["ACCESS"]

#: Open to anyone by their transport, and to nobody by what they must show: an invitation's secret with possession of
#: a key to ask, an unguessable ticket to look, a signature by the delegated key to change. What `root` and
#: `delegation` answer is public: it stands in `0.NA/<prefix>` as well.
ACCESS: Access = {
    "POST /federation/v1/challenge": ANYONE,
    "POST /federation/v1/join": ANYONE,
    "GET /federation/v1/join/{ticket}": ANYONE,
    "POST /federation/v1/renew": ANYONE,
    "GET /federation/v1/delegations/{prefix}": ANYONE,
}
