"""Bulk import: reading files, mapping rows to drafts, registering them in batches, reporting line by line."""
