"""The metrics of a run, pushed to a receiver of OpenTelemetry: OTLP over HTTP.

    target     where to, how often, and whether the extra is installed; imports nothing of OpenTelemetry
    pusher     lines of the series -> a snapshot every second or so -> a thread that sends them, one at a time
    points     snapshot -> the types of the SDK
    sender     the exporter of the SDK, and what became of each export

Metrics, names and texts are those of `loadgen.views.dashboard.prometheus`. Like the dashboard it only looks: whatever
the receiver does, the run goes on and ends as it would without. See docs/otlp.md.
"""
