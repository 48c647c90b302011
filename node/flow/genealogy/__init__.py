"""Genealogy: what was made of what, what is in what, and who has it now."""
