"""What devices there are, and which tiers pay on them: classes of speed × tiers, over all sessions and workers.

`tally` counts, in whole numbers of a bounded set of cells. A store keeps them by day for all workers (`memory_days`,
`redis_days`). `report` says what they come to, as GET /devices answers. `service` ties them together.
"""
