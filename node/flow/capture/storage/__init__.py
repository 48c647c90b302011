"""The tables of capture, and the only modules of it that speak SQL."""
