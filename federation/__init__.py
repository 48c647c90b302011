"""Between nodes: joining a superior, delegations, and the signed exchange to come."""
