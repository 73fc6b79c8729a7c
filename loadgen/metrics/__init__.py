"""What a run counts: outcomes by (syscall, errno), histograms, shared-memory blocks, the summary."""
