"""Sessions in virtual time over network traces."""
