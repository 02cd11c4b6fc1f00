"""All that can be done with sessions. It knows stores and titles, not HTTP.

One request for a segment is a straight line through `service`:

    load the session → price its title → observe() → decide → record → save

`repository` loads and saves, also while the store is away. `pricing` says what the title offers the device.
`server.sessions.observation` gathers what is known of the viewer. `controller_runner` decides for all who ask in the
same turn of the loop. `groups` knows the viewers who share a link. `server.sessions.decisions` says what follows from
a decision. `opening` begins sessions. `live` prices titles that are still running. `watchers` count what viewers see.
"""

from server.session_service.controller_runner import ControllerRunner
from server.session_service.groups import GroupNames
from server.session_service.live import LiveSessions
from server.session_service.opening import SessionOpener, SessionRequest
from server.session_service.pricing import PricingCache
from server.session_service.repository import SessionRepository
from server.session_service.service import SegmentQuery, SessionService
from server.session_service.watchers import Watchers

__all__ = [
    "ControllerRunner",
    "GroupNames",
    "LiveSessions",
    "PricingCache",
    "SegmentQuery",
    "SessionOpener",
    "SessionRepository",
    "SessionRequest",
    "SessionService",
    "Watchers",
]
