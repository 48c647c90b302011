"""The Handle HTTP JSON API: reading, writing, listing and searching for clients that speak it.

Not offered, and answered with response code 5: sessions and challenge-response (`/api/sessions`,
`/api/verifications`), and giving a prefix up by DELETE. Logins are Basic over TLS or loopback, and bearer tokens.
"""
