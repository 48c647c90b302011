"""Capture: events in, stored once, with their ledger lines and edges in the same transaction."""
