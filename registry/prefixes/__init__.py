"""Prefixes: which ones this node homes and delegates, how they are joined, hosted, renewed and handed over."""
