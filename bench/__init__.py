"""Benchmarks of loadgen beside a C client; see bench/reference/README.md for the method."""
