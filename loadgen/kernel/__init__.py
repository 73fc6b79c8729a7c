"""What the kernel says of itself: one module for each file under /proc, and for netlink's list of sockets."""
