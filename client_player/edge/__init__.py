"""The edge node: a player towards the origin, a server towards stock players, who see what it has lifted."""
