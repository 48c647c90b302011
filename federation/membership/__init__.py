"""Membership: asking a superior for a prefix and keeping it, and answering those who ask here."""
