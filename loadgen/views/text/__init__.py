"""Text for a terminal: summaries, plans, comparisons, listings and findings."""
