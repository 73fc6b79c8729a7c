"""Watch a network namespace, with or without a loadgen run: how full each destination is, and when it will be full.

`space` (arithmetic), `owners` (processes of sockets), `filters` (selection of groups), `early` and `sources` (accounts
by source address), `snapshot` (all of it at one time), `plain` (the same as JSON) and `conditions` (alarms) build on
each other; `holders` says who has a port, `netns` enters another namespace. `loadgen.cli.watch` runs them.
"""
