"""Small tools for asyncio: locks by key, batches of one turn of the loop, work in the background."""
