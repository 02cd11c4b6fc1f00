"""What a live stream's pictures are worth: the tables that decisions for its viewers rest on."""
