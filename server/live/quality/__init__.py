"""How good a live stream's pictures are: the tables that decisions for its viewers rest on."""
