"""The engine on epoll(7): a system call for each step, one epoll object for all connections of a worker."""
