"""What gates share."""

from __future__ import annotations

CURL = "curl -q --noproxy '*' -fsS -m 5"
"""Neither root's own ~/.curlrc nor a proxy of the host's environment has a say in what a probe asks."""

SERVES_NOBODY = {
    7: "nobody listens",
    35: "no handshake",
    56: "cut off after the handshake",
    60: "its certificate has expired, or is not its own",
}
"""curl's exit codes, as in curl(1). A timeout, 28, is none of them: who is slow still serves."""
REFUSED = 22
"""curl's exit code for an answer of 400 or more. For an apiserver's /readyz it is one more of them. It is none for etcd's
/health: with an alarm (NOSPACE), or without a leader, a member answers 503 and serves reads still [etcd:
server/etcdserver/api/etcdhttp/health.go]."""


def unless_lost(probe: str, *more: int) -> str:
    """A line that ends a gate well when the instance on this host serves nobody, so that stopping it takes nothing away.

    That is how instances whose certificates have expired come back. `probe`: curl's question to it, which fails when it is
    not well. `more`: further exit codes of curl with which it serves nobody.
    """
    return f"{probe} >/dev/null; case $? in {'|'.join(map(str, sorted({*SERVES_NOBODY, *more})))}) exit 0 ;; esac"
