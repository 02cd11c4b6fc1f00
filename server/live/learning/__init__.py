"""Networks that learn a live stream while it runs: who trains them, and how they get into its folder."""
