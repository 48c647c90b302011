"""Books: each homed prefix has one, with short numbers for the long names in it."""
