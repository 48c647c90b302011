"""Where the ground floor keeps its rows: the engine, the metadata, and each concept's own tables and queries."""
