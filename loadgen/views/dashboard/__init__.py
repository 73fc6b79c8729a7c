"""A run in a browser while it goes on: the report's charts, live, a stop button, and figures for Prometheus.

It lives in the orchestrator's process and on its event loop, and only looks: whatever happens to it, to a browser or to
the network between them, the run goes on and ends as it would without.
"""
