"""A network link for real players: a proxy that lets bytes through as a trace does."""
