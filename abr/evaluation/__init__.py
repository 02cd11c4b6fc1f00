"""Commands that compare controllers, and the plots of what came of it."""
