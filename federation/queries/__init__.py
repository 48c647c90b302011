"""Questions from one node to others: signed, with purpose, scope and expiry; answered by every node concerned."""
