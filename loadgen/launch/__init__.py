"""Ways to start shards; each is a module of its own."""
