"""What gates share."""

from __future__ import annotations

SERVES_NOBODY = {
    7: "nobody listens",
    22: "it says so itself",
    35: "no handshake",
    56: "cut off after the handshake",
    60: "its certificate has expired, or is not its own",
}
"""curl's exit codes, as in curl(1). A timeout, 28, is none of them: who is slow still serves."""


def unless_lost(probe: str) -> str:
    """A line that ends a gate well when the instance on this host serves nobody, so that stopping it takes nothing away.

    That is how instances whose certificates have expired come back. `probe`: curl's question to it, which fails when it is
    not well.
    """
    return f"{probe} >/dev/null; case $? in {'|'.join(map(str, SERVES_NOBODY))}) exit 0 ;; esac"
