"""Chemicals through their whole life: events, quantities, ancestry and the models that watch them."""
