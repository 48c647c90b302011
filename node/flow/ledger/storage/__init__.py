"""The tables of the ledger, and the only modules of it that speak SQL."""
