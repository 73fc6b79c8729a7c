"""Watching any host, whether loadgen runs there or not: how full each destination is, and when it will be full.

The road is `space` (arithmetic), `owners` (whose sockets), `look` (one look at everything), `conditions`
(what is to be complained of), `view` (text and JSON); `loadgen.cli.watch` drives it.
"""
