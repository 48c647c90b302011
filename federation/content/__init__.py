"""What crosses between nodes: declared datasets, what of them is shared with whom, and what arrived from others."""
