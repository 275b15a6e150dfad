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
    """One thing that is wrong, said so that a person can mend it without asking."""

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
    """The root of the tree. `exit_code` is what the process ends with."""

    exit_code = FAILED


class Failed(KubewrightError):
    """Something could not be done; the message says what to do next."""


class ProblemsError(KubewrightError):
    """All the problems found, at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BadInput(ProblemsError):
    """What a person wrote can't be used. No host was asked, nothing was written."""

    exit_code = BAD_INPUT


class Refused(ProblemsError):
    """What cluster.yaml asks for can't be done to a live cluster, or not by this command. Nothing was written."""

    exit_code = BAD_INPUT


class HostsUnfit(ProblemsError):
    """Hosts on which the plan can't be carried out. Nothing was written."""
