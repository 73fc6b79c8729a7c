"""The command line, used as a user does: one subprocess for each run, watched from outside."""
