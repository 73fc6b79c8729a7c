"""Log lines and stack traces: what a program said when it could not connect or listen.

errnos     names of errnos, from the words and numbers that programs print
row        one row of the tables: a message of a program, and what its parts mean
servers    rows of servers and proxies
languages  rows of languages and their libraries
tools      rows of client tools and databases
table      all rows, and the words without which a line has none of them
unwrap     the text inside JSON, logfmt and prefixes
traces     lines that belong to a stack trace, and the call that its frames show
blocks     the complaints in the lines of one message
lines      the format
"""

from loadgen.explain.formats.logs.lines import LOGS

__all__ = ["LOGS"]
