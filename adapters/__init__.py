"""The outside world: each adapter turns a foreign protocol into readings. The first arrive with monitoring."""
