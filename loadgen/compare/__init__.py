"""Runs beside runs: which differences there are, and which of them are more than noise."""
