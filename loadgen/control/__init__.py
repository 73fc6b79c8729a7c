"""The control plane: prepare a run, start its processes, follow it, and write its run directory."""
