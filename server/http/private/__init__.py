"""The wire of private telemetry."""
