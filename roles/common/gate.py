"""Code that several gates share."""

from __future__ import annotations

CURL = "curl -q --noproxy '*' -fsS -m 5"
"""A probe ignores ~/.curlrc and the proxy settings of the host."""

SERVES_NOBODY = {
    7: "nobody listens",
    35: "no handshake",
    56: "cut off after the handshake",
    60: "its certificate has expired, or is not its own",
}
"""curl's exit codes, as in curl(1). A timeout, 28, is none of them: a slow server still serves."""
REFUSED = 22
"""curl's exit code for an answer of 400 or more. An apiserver with such a /readyz serves no client. An etcd member with such
a /health does: with an alarm (NOSPACE), or without a leader, it answers 503 and still serves reads [etcd:
server/etcdserver/api/etcdhttp/health.go]."""


def unless_lost(probe: str, *more: int) -> str:
    """A line of shell that passes the gate when the instance on this host serves no client, since then its stop harms none.
    So instances with expired certificates can restart.

    `probe`: curl's request, which fails when the instance is unhealthy. `more`: further exit codes of curl that mean that
    it serves no client.
    """
    return f"{probe} >/dev/null; case $? in {'|'.join(map(str, sorted({*SERVES_NOBODY, *more})))}) exit 0 ;; esac"
