"""Every error a person can meet, and the exit code each one means.

A message reads *where: what is wrong (value); allowed: what may stand there; what to do*. Verbs that run another program
(`kubewright kubectl`, `kubewright lab exec`, `kubewright lab ssh`) end with that program's exit code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

DONE, FAILED, ATTENTION, BAD_INPUT, HOSTS_LEFT_OUT = 0, 1, 2, 3, 4


@dataclass(frozen=True, kw_only=True, order=True)
class Problem:
    """One problem, with everything that a person needs to correct it."""

    where: str
    """A file and line (`cluster.yaml:12 hosts[1].address`), or a host's name."""
    what: str
    """What is wrong, with the value in parentheses where there is one."""
    allowed: str
    """What may stand there, without the label "allowed:"; empty where nothing helps to know."""
    todo: str

    def __str__(self) -> str:
        allowed = self.allowed and f"allowed: {self.allowed}"
        return "; ".join(part for part in (f"{self.where}: {self.what}", allowed, self.todo) if part)


class KubewrightError(Exception):
    """The base of all errors. `exit_code` is the process's."""

    exit_code = FAILED


class Failed(KubewrightError):
    """Something could not be done; the message says what to do next."""


class ProblemsError(KubewrightError):
    """All the problems found, at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BadInput(ProblemsError):
    """The input cannot be used. No host was contacted, nothing was written."""

    exit_code = BAD_INPUT


class Refused(ProblemsError):
    """A live cluster does not allow this edit of cluster.yaml, or not by this command. Nothing was written."""

    exit_code = BAD_INPUT


class HostsUnfit(ProblemsError):
    """Hosts on which the plan cannot be applied. Nothing was written."""
