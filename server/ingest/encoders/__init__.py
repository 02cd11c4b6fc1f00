"""Video encoders: what each is told, so that their segments cut and join alike, and how their output is described."""
