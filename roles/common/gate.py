"""What gates share."""

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
"""curl's exit code for an answer of 400 or more. An apiserver whose /readyz answers so serves nobody. An etcd member whose
/health answers so does: with an alarm (NOSPACE), or without a leader, it answers 503 and still serves reads [etcd:
server/etcdserver/api/etcdhttp/health.go]."""


def unless_lost(probe: str, *more: int) -> str:
    """A line of shell that passes the gate when the instance on this host serves nobody: stopping it harms no client.

    So instances with expired certificates can restart. `probe`: curl's request, which fails when the instance is unhealthy.
    `more`: further exit codes of curl that mean that it serves nobody.
    """
    return f"{probe} >/dev/null; case $? in {'|'.join(map(str, sorted({*SERVES_NOBODY, *more})))}) exit 0 ;; esac"
