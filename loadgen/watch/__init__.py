"""Watch a network namespace, with or without a loadgen run: how full each destination is, and when it will be full.

`space` (arithmetic), `owners` (processes of sockets), `filters` (selection of groups), `snapshot` (all of it at one
time) and `conditions` (alarms) build on each other; `loadgen.cli.watch` runs them.
"""
