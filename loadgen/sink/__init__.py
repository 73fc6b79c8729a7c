"""The other side of the connections: processes that accept, answer and count."""
