"""Chaos: random scenarios in labs, random faults in the middle of them, and the invariants that hold all the same.

Run as `python -m tests.chaos`; docs/chaos.md says how, and which faults there are.
"""
