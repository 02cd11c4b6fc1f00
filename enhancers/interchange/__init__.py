"""Networks in other programs' formats: export of ours, import of others."""
