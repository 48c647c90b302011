"""What a node remembers outside its database: how far it may have sent, and what it has signed."""
