"""Mutation testing of the code that decides whether something is believed: `python -m tests.mutation --help`."""
