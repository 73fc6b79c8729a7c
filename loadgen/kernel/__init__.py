"""What the kernel says of itself: one module for each file or family of files under /proc."""
