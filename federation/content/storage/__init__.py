"""The tables of what is shared, and the only modules of this room that speak SQL."""

from federation.content.storage import tables

__all__ = ["tables"]
