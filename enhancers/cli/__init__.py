"""Commands that need enhancers. Heavy packages are imported when a command runs."""
