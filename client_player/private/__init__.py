"""Rounds of secure aggregation from a member's side: for private telemetry, and for tuning."""
