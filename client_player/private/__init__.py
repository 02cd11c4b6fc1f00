"""Private telemetry of the player: it takes part in rounds of secure aggregation, for viewers who opted in."""
