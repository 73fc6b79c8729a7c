"""A finished or running run on disk and in numbers: run directory, summary, verdict, matrix and measures."""
