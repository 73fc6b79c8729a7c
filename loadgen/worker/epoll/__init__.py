"""The engine on epoll(7): a system call for each step, one epoll object for all connections of a worker.

transport   differences between TCP and UDP
connector   the engine: attempts in batches, held connections
exchange    the driver of connections that make exchanges, with TLS or without
"""
