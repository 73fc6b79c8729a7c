"""The data plane: one process that opens its share of the connections, holds them and counts what happens."""
