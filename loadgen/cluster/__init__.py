"""Runs on many hosts: a coordinator splits a scenario, and each agent conducts an ordinary run of its share.

    messages       what coordinator, agent and share say to each other
    split          the share of one agent: connections, arrivals, sources, targets
    share          a process of an agent that conducts one share, from stdin to stdout
    conductor      what that process does: an ordinary run, paced by orders and told in reports
    streams        its two pipes, orders and reports
    outbox         the reports that wait to be read
    agent          the agent itself: a worker of dask.distributed that starts shares and passes on what they say
    calls          functions that the coordinator has an agent run
    connection     the coordinator's side: the scheduler, the agents that joined, calls to them
    certificates   an authority, and a certificate for each host
    security       the files of certificates, checked, as dask.distributed takes them
    logs           the log of dask.distributed, kept from stderr
    extra          whether dask.distributed is installed
    coordinator    the run: from the agents that join to one summary
    assessment     the plan of the whole, from those of its agents
    member         one agent as the coordinator knows it
    records        the run directory of the whole, with a copy of each share
    check          what would stop a run on these agents, before anything starts

Only `agent`, `connection` and `security` import dask.distributed, and only inside their functions: it is an extra
(`pip install loadgen[cluster]`).
"""
