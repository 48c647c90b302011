"""The quantity ledger: double entry per batch, holder and location, derived from events and rebuildable."""
