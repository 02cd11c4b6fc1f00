"""Video files read by PyAV: what a source holds, and its frames as a viewer sees them."""
