"""What lifting costs in processor time and energy, what it saves on the line, and whether that pays."""
