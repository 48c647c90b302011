"""Backup and restore: one consistent picture of a node's database while it runs, and the way back."""
