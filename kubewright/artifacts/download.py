"""Downloads over HTTP: a small text, or a large file with a known sum.

A large file grows in the cache's partial/ folder, under its expected sum. After a cut connection or a killed run, the
download resumes if the server supports Range. Nothing leaves partial/ unless its sum is right.
"""

from __future__ import annotations

from pathlib import Path

import httpx

from kubewright.artifacts.access import Access
from kubewright.artifacts.cache import Cache, digest
from kubewright.artifacts.credentials import LOOPBACK
from kubewright.artifacts.model import Say
from kubewright.errors import Failed

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0
PROBE_SECONDS = 3.0
ATTEMPTS = 4
SMALL_TEXT = 4 << 20


def client(access: Access | None = None) -> httpx.Client:
    """Follows redirects, which release files need; proxies and authorities come from the environment.
    This machine is reached without a proxy."""
    return httpx.Client(
        auth=access,
        mounts={f"all://{f'[{host}]' if ':' in host else host}": None for host in LOOPBACK},
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=True,
        # Sums are of the bytes as published: never let a server compress them on the way.
        headers={"Accept-Encoding": "identity", "User-Agent": "kubewright"},
    )


def reachable(address: str) -> bool:
    """Whether the server answers with the file within a few seconds."""
    try:
        return httpx.head(address, timeout=PROBE_SECONDS, follow_redirects=True).is_success
    except httpx.HTTPError:
        return False


def fetch_text(http: httpx.Client, address: str) -> str:
    """A small text. Failed when it cannot be fetched."""
    received = bytearray()
    try:
        with http.stream("GET", address) as response:
            if not response.is_success:
                raise _refused(http, address, response)
            for block in response.iter_bytes():
                received += block
                if len(received) > SMALL_TEXT:
                    raise Failed(
                        f"{address}: larger than {SMALL_TEXT >> 20} MiB, not the short text expected; use another --source"
                    )
    except httpx.HTTPError as error:
        raise _unreachable(address, error) from error
    return received.decode("utf-8", errors="replace")


def fetch_file(http: httpx.Client, address: str, sha256: str, cache: Cache, say: Say) -> Path:
    """The file, in partial/, with that sum; the caller moves it away. Hold a lock of the sum's name.

    Failed after a few attempts at a connection that breaks, and at once for a wrong sum (the partial file is removed)
    or a refusal such as 404.
    """
    target = cache.partial / sha256
    if target.exists() and digest(target)[0] == sha256:
        return target  # an archive that was fetched for another of its members
    resumed = False
    for attempt in range(1, ATTEMPTS + 1):
        try:
            resumed = _receive(http, address, target) or resumed
            break
        except httpx.HTTPError as error:
            if attempt == ATTEMPTS or isinstance(error, httpx.ConnectError):
                raise _unreachable(address, error) from error
            say(f"{address}: the connection broke ({_reason(error)}); going on at {_size(target)} bytes")
    found, size = digest(target)
    if found == sha256:
        return target
    target.unlink()
    if resumed:
        # The first part may be of an older file under the same address: download it from the start.
        say(f"{address}: the resumed download has a wrong sum; downloading it again")
        return fetch_file(http, address, sha256, cache, say)
    raise Failed(
        f"{address}: the sum is wrong (got {found} over {size} bytes; {sha256} is published); nothing was kept. "
        "Try again; if it stays so, a proxy or mirror on the way changes the file: use another --source"
    )


def _receive(http: httpx.Client, address: str, target: Path) -> bool:
    """Append the missing part. Returns whether the server resumed the download."""
    have = _size(target)
    headers = {"Range": f"bytes={have}-"} if have else {}
    with http.stream("GET", address, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return True  # the file is complete; the sum will tell
        if not response.is_success:
            raise _refused(http, address, response)
        resumed = have > 0 and response.status_code == httpx.codes.PARTIAL_CONTENT
        with target.open("ab" if resumed else "wb") as out:
            for block in response.iter_raw():  # no chunk size: httpx would hold back, and lose, the last part
                out.write(block)
        return resumed


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


def _unreachable(address: str, error: httpx.HTTPError) -> Failed:
    return Failed(
        f"{address}: cannot be fetched ({_reason(error)}); check the network and proxy, then run again (what was "
        "received is kept), or use --source gomod, mirror or directory"
    )


def _refused(http: httpx.Client, address: str, response: httpx.Response) -> Failed:
    if isinstance(http.auth, Access) and (denied := http.auth.denied(address, response)):
        return denied
    return Failed(
        f"{address}: the server answers {response.status_code}; check that this version was released and that a mirror holds it, "
        "or use another --source"
    )
