"""Trust: strict JWS, key admission, statements and chains of delegations, record signatures."""
