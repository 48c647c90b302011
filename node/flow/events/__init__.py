"""EPCIS 2.0 events: read, judged, hashed and written again without loss; nothing here reads or writes outside."""
