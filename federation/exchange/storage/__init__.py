"""The tables of the exchange, and the only modules of it that speak SQL."""
