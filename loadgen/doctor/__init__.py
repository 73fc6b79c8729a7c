"""This host's limits, and how far each of them carries a purpose such as 100,000 connections; it changes nothing.

reading       what the files of this host say, as they stand
finding       what a limit comes to: value, meaning, verdict, and the commands that change it
ports         four-tuples: the range, what is taken out of it, the search for a port, TIME-WAIT
services      ports that services need and outgoing connections may take
rates         new connections per second: TIME-WAIT, connection tracking
sysctl_files  settings that do harm or nothing, now and at the next boot
listening     what counts only where the listeners are on this host, too
resources     descriptors, tables, memory, processes, processors
limits        all of them in order; which to change first
features      what this kernel can do, and what this user may do, tried out
checkup       all of it together, and as JSON
view          the same as text
"""
