"""A situation of another host, rebuilt in a lab: the scenario that `explain --scenario` and `trace --scenario` write.

circumstances   what is known of the situation, in its own numbers
scaled          the same, small enough to take seconds
recipes         for each limit: what a scenario has to set so that the same error and the same verdict come
writing         the YAML, with a comment that says where each value comes from
"""
