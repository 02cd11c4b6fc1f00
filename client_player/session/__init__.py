"""One session from request to report."""
