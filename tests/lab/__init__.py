"""Real sockets: each test lives in a network namespace of its own, with a handful of source ports."""
