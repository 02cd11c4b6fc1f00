"""Private telemetry: what a player counts of a session, as one vector of words that is fit for secure aggregation."""
