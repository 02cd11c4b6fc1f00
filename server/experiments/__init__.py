"""Randomised experiments: new viewers are drawn into arms, each with a controller, and what they see is compared.

`experiment` says what the arms are and draws. `visit` sums up what one viewer saw. `tally` adds visits up, arm by arm;
a store keeps that for all workers (`memory_tallies`, `redis_tallies`). `intervals` holds the statistics, `report` says
what they come to. `service` ties them together for the session service and for the pages.
"""
