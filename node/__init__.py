"""Composition: settings, wiring, programs, accounts, and the safety rooms."""
