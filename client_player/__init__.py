"""The headless player: downloads over a shaped network, decodes, enhances within its deadline, shows, reports."""
