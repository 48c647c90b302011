"""`/id/<identifier>`: what a scanned label leads to; links, redirects, or the page to read.

GS1 keys (`/01/…`, `/.well-known/gs1resolver`) are not served here; our own identifiers only.
"""
