"""Rounds of secure aggregation on the server, one after the other: what private telemetry and tuning rest on."""
