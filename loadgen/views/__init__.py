"""Everything people look at: the text on a terminal, the HTML report, live views, and the files for CI.

The views take the JSON values of a run directory and return text; none of them makes load.
"""
