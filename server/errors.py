"""What is wrong with a request."""

from __future__ import annotations


class RequestError(Exception):
    """A request that is answered with a problem. `headers` go with it, such as Allow or Retry-After."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


class DamagedTitleError(RequestError):
    """503 for a title that is there but cannot be read: it may be mended, or is still being copied."""

    def __init__(self, title_id: str) -> None:
        super().__init__(503, f"Title {title_id!r} cannot be read; the server's log says why.")
