"""Facts that the kernel reports: one module for each file under /proc, and for netlink's sockets and routes."""
