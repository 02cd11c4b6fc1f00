"""How good and how fast enhancers are, and which of them a title offers."""
