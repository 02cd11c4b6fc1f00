"""How good a picture is, and what a difference in quality is worth in bits."""
