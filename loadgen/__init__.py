"""Open very many outbound TCP connections from one Linux host, and know which limit stops you."""
