"""People and systems: who they are, how they prove it, what they may do at which prefix."""
