"""Evidence that people paste, read and judged: `loadgen explain`.

text        bytes of a file in, clean numbered lines out
evidence    what was read, as plain values, each with the place it came from
formats/    one module for each format: recognises its lines, and writes them into the evidence
reader      goes through the lines, finds the format of each, and notes what none of them takes
archive     files, directories, tarballs and sosreports, file by file
sosreport   which files of a sosreport are evidence
accounts    sockets and settings in, ports used, in TIME-WAIT and free out: by source, by destination, by port
case        the figures that the rules read, each computed once
rules       what speaks for each limit, and what rules it out
judge       findings, most likely first, with their remedies, and what is missing to decide
collect     the shell command for a host that has nothing of ours

Nothing here looks at this host: what the evidence does not say is unknown, or assumed and said to be assumed.
"""
