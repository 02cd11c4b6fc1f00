"""`toprung bench serve`: what a viewer costs the server, against nginx sending the same files."""
