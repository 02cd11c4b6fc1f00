"""The node's books: each lift is entered with what it took and saved, and they say whether to go on."""

from __future__ import annotations

import logging

from abr.virtual_time import SessionClock
from client_player.edge.accounting.balance import REST_S, Balance, LiftCost, Loss
from client_player.edge.accounting.lift_energy import LiftEnergy
from client_player.edge.lifts.lift_queue import LiftOrder, Outcome
from client_player.edge.metrics import EdgeMetrics

_SAID = {
    Loss.BEHIND: "most of the last lifts came too late for those who were to see them",
    Loss.GAIN: "the last lifts saved no bytes of the line at equal quality",
    Loss.ENERGY: "the last lifts took more energy than the bytes that they saved are worth (--kwh-per-gb)",
}

log = logging.getLogger("toprung.edge")


class Ledger:
    """Counts lifts in metrics, and stops lifting for a while when it does not pay."""

    def __init__(self, energy: LiftEnergy, balance: Balance, metrics: EdgeMetrics, clock: SessionClock) -> None:
        self.energy, self._balance, self._metrics, self._clock = energy, balance, metrics, clock
        self._loss: Loss | None = None
        metrics.lift_energy_j.labels(str(energy.source))  # told from the start, as all that rates are taken of

    @property
    def loss(self) -> Loss | None:
        """Why lifting does not pay just now; None where it does."""
        found = self._balance.loss(self._clock.now_s())
        if found is not self._loss:
            self._loss = found
            if found is not None:
                self._metrics.pauses.labels(str(found)).inc()
                log.warning(
                    "Lifting does not pay: %s. Titles are served as they come for %.0f s.", _SAID[found], REST_S
                )
            else:
                log.info("Lifting is tried again.")
        return found

    def lifted(self, *, media_s: float, cpu_s: float, energy_j: float, saved_bytes: float) -> None:
        """A segment was lifted."""
        cost = LiftCost(media_s=media_s, cpu_s=cpu_s, energy_j=energy_j, saved_bytes=saved_bytes)
        self._balance.lifted(cost)
        self._metrics.lift_cpu_s.inc(cpu_s)
        self._metrics.lift_energy_j.labels(str(self.energy.source)).inc(energy_j)
        self._metrics.lifted_media_s.inc(media_s)
        self._metrics.saved_bytes.inc(max(0.0, saved_bytes))

    def closed(self, order: LiftOrder) -> None:
        """An order is done with: it was in time if somebody has still to come to it, or others may."""
        self._metrics.lifts.labels(str(order.outcome)).inc()
        if order.outcome is Outcome.LATE:
            self._balance.closed(in_time=False)
        elif order.outcome is Outcome.LIFTED:
            now_s = self._clock.now_s()
            self._balance.closed(in_time=order.later() > 0 or any(due_s >= now_s for due_s in order.due(now_s)))
