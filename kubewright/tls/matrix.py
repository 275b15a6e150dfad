"""Makes the matrix's attempts, through the hosts' SSH connections, and judges each result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import gevent
from gevent.pool import Pool

from kubewright.tls import grpc as grpc_probe
from kubewright.tls.attempts import Attempt, Kind
from kubewright.tls.grpc import Called
from kubewright.tls.probe import Answer, Dials, ask

AT_ONCE = 8
"""Connections at a time through one host's SSH connection."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One attempt, and why its result is wrong; empty when it is right."""

    attempt: Attempt
    answer: str
    message: str

    @property
    def holds(self) -> bool:
        return not self.message


def carry_out(hosts: Mapping[str, Dials], attempts: Iterable[Attempt]) -> tuple[Tried, ...]:
    """All of them, in their order. Failed when a host's sshd lets no connection through."""
    wanted: Sequence[Attempt] = tuple(attempts)

    def of(name: str) -> list[tuple[int, Tried]]:
        mine = [(number, attempt) for number, attempt in enumerate(wanted) if attempt.source == name]
        return list(Pool(AT_ONCE).imap_unordered(lambda pair: (pair[0], _try(hosts[name], pair[1])), mine))

    jobs = [gevent.spawn(of, name) for name in hosts]
    gevent.joinall(jobs, raise_error=True)
    return tuple(tried for _, tried in sorted((pair for job in jobs for pair in job.value), key=lambda pair: pair[0]))


def _try(host: Dials, attempt: Attempt) -> Tried:
    endpoint, terms = attempt.endpoint, attempt.terms
    answer: Answer | Called
    if attempt.call and terms:
        call = attempt.call
        answer = grpc_probe.call(host, endpoint.address, endpoint.port, call.method, call.message, terms=terms)
    else:
        answer = ask(host, endpoint.address, endpoint.port, attempt.path, terms=terms)
    return Tried(attempt=attempt, answer=brief(answer), message=judge(attempt, answer))


def brief(answer: Answer | Called) -> str:
    """One line. Content that was wrongly served is not shown: it may be a Secret."""
    if isinstance(answer, Answer) and 200 <= answer.status < 300:
        return f"{answer.status} with {len(answer.body)} bytes"
    return " ".join(str(answer).split())


def judge(attempt: Attempt, answer: Answer | Called) -> str:
    """Why `answer` is wrong for `attempt`; empty when it is right."""
    if isinstance(answer, Called):
        return _judge_call(attempt, answer)
    good, wanted = _wanted(attempt, answer)
    return "" if good else f"expected {wanted}, got: {brief(answer)}"


def _judge_call(attempt: Attempt, called: Called) -> str:
    assert attempt.call
    if attempt.call.allowed:
        return "" if called.code == grpc_probe.OK else f"expected to be allowed, got: {called}"
    refusals = (grpc_probe.PERMISSION_DENIED, grpc_probe.FAILED_PRECONDITION, grpc_probe.UNAUTHENTICATED)
    return "" if called.code in refusals else f"expected permission denied, got: {called}"


def _wanted(attempt: Attempt, answer: Answer) -> tuple[bool, str]:
    """Whether the endpoint's answer fits the kind of attempt, and the expected answer in words."""
    match attempt.kind:
        case Kind.ACCEPTED:
            return answer.status == 200, "200"
        case Kind.PLAIN:
            # Go's servers say 400, "an HTTP request to an HTTPS server"; etcd hangs up.
            return answer.status == 400 or answer.ended_by_the_server, "no answer to plain HTTP"
        case Kind.OLD:
            return "PROTOCOL_VERSION" in answer.alert, "the alert protocol_version"
        case Kind.CIPHER:
            refused = "HANDSHAKE_FAILURE" in answer.alert or "INSUFFICIENT_SECURITY" in answer.alert
            return refused, "the alert handshake_failure"
        case Kind.SERVER:
            return answer.does_not_verify, "the client's own refusal"
        case Kind.NAME if not attempt.endpoint.tls.handshake:
            return answer.status == 403, "403"
        case _ if attempt.endpoint.tls.handshake:
            return answer.ended_by_the_server, "the handshake to fail"
    return answer.status in (401, 403), "401 or 403"
