"""Processes of a run: the zygote that forks them, the fleet that watches them, the memory they share."""
