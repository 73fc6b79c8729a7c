"""The typed contract of a run directory: the shape of each file, and the counters they are made of.

Nothing here computes a figure. Processes that make load import the counters and so pay for msgspec alone.
"""
