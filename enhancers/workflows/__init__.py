"""The steps of `toprung train`, from the title to the published table."""
