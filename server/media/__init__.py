"""Title folders and their files."""
