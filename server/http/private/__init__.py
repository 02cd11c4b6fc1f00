"""The wire of rounds of secure aggregation: those of private telemetry, and those of federated tuning."""
