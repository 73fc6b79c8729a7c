"""`loadgen watch --exporter`: snapshots as metrics for Prometheus.

metrics   the table of metrics, and a snapshot as text
server    the HTTP server, in a thread of its own, which hands out the text of the last snapshot
"""
