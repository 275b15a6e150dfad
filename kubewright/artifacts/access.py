"""One host's credentials on the way: to that host only, never to where it redirects, and the words for a refusal."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from kubewright.artifacts.credentials import Login, NoLogin
from kubewright.errors import Failed

DENIED = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


class Access(httpx.Auth):
    """Adds `header` to the requests for one origin (scheme, host, port). httpx drops it at a redirect to another one
    [httpx: _client.py, _redirect_headers]. `login` is None where no credentials are looked for: upstream's addresses."""

    def __init__(self, address: str, login: Login | NoLogin | None, header: str = "") -> None:
        self.login = login
        self.header = header
        self._origin = _origin(httpx.URL(address))

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if self.header and self.is_for(request.url):
            request.headers["Authorization"] = self.header
        yield request

    def is_for(self, url: httpx.URL) -> bool:
        return _origin(url) == self._origin

    def denied(self, address: str, response: httpx.Response) -> Failed | None:
        """For a 401 or 403; None where no credentials were looked for."""
        status = response.status_code
        if status not in DENIED or self.login is None:
            return None
        host, (_, asked, _) = self.login.host, self._origin
        if not self.is_for(response.url):
            return Failed(
                f"{address}: {asked} redirects to {response.url.host}, which answers {status}; credentials are not sent there: "
                f"let {asked} serve the file itself, or check the redirect"
            )
        if isinstance(self.login, NoLogin):
            return Failed(f"{address}: {status}, no credentials for {host} ({self.login.why}); {self.login.todo}")
        return Failed(
            f"{address}: {status}, the credentials for {host} were refused (those in {self.login.file}); "
            "check the user, the password and the account's rights"
        )


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)
