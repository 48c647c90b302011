"""The tables of genealogy, and the only modules of it that speak SQL."""
