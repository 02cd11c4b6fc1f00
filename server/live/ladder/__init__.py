"""The ladder of a running stream: what there is of it, how soon it is there, and what is left out when it is late."""
