"""Identifier in, answer out: authority, referral, recursion, caches, and the doors that serve them."""
