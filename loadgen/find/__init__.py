"""The highest value of a key with which everything that is expected of a run holds.

goal       the question of a search, its trials, and its answer
search     which value to try next, and when both ends of the answer are sure; pure
judging    the outcome of a trial: its expectations, held against the steady part of its run
steps      one run that opens more and more, judged plateau by plateau
answer     the trials of a search folded into its summary
"""
