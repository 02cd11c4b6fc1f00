"""What server and players agree on beside CMCD and CMSD: the headers of a decided segment, and how ids are shown."""

from __future__ import annotations

RENDITION = "Toprung-Rendition"
"""The rendition whose bytes are sent."""
ENHANCER = "Toprung-Enhancer"
"""The enhancer to apply to it, or `none`."""
PROMISED_VMAF = "Toprung-Promised-VMAF"
"""The VMAF that the title's tables promise of this choice, with two decimals."""
PROMISED_QUALITY = "Toprung-Promised-Quality"
"""The same in what the server's decisions count, trusted quality by default, with two decimals."""
WAIT_S = "Toprung-Wait-S"
"""Seconds to wait before asking for the next segment, with three decimals."""
REASON = "Toprung-Reason"
"""Why, in one line of printable ASCII."""
PLUS_MINUS = "+/-"
"""Stands for ± in it."""

DECISION_HEADERS = (RENDITION, ENHANCER, PROMISED_VMAF, PROMISED_QUALITY, WAIT_S, REASON)

PUBLIC_ID_CHARACTERS = 16
"""The first characters of a session id, which may be shown and logged. Knowing the rest is the right to use it."""
