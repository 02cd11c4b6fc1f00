"""Private telemetry on the server: one round of secure aggregation after the other, and what is known of their sums."""
