"""Runs of several agents added up to one: its plan, its series, its events and its summary.

A distributed run is a sum of runs. Each agent's share is an ordinary run with a directory of its own; the whole is made
from those alone, whether a coordinator wrote them down as the run went or a user collected them by hand.

    whole     plan, host and events of the whole
    series    lines of all agents -> lines of the whole, as they come
    verdict   what stopped the whole: the limit of an agent, or one that all of them met together
"""
