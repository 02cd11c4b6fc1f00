"""What comes from the origin: titles, segments and weights, each once over the backhaul."""
