"""The append-only log: a Merkle tree over every envelope and receipt, signed, witnessed, and provable from files."""
