"""`/rate` over HTTP."""
