"""What the evaluate stage is built from: metrics with intervals, baselines, latency, report."""
