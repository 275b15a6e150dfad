"""The steps of a run, and the one function that runs each: stock pyinfra and `kubewright apply` both call `run_step`.

A step is added for every host; a host that it does not concern returns at once. A failure raises on its own host and
stops the others: a callback that returns False would count as success.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubewright.errors import ProblemsError
from kubewright.plan.leftovers import LEFTOVERS, RECORD
from kubewright.plan.wave import Wave, wave
from kubewright.run.events import Event, Stopped
from kubewright.run.run import ISSUED, Run

OBSERVE, BEGIN, END = "observe", "begin", "end"
"""The titles of the first step, of the one that takes the lock and issues certificates, and of the last one."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """`title` is for people; `run` does it on one host."""

    title: str
    run: Callable[[Run, str], None]
    due: Callable[[Run, str], bool] = lambda _run, _host: False
    """Whether it would change that host, once all hosts were checked. Observing and judging change nothing."""


def _observe(run: Run, host: str) -> None:
    run.session.observe(host)


def _check(run: Run, _host: str) -> None:
    run.check()


def _begin(run: Run, _host: str) -> None:
    run.begin()


def _end(run: Run, _host: str) -> None:
    run.end()


def _wave(wave: Wave) -> Step:
    return Step(
        title=wave.title,
        run=lambda run, host: run.rollout.carry_out(wave, host),
        due=lambda run, host: any(run.pending(role, host) for role in wave.roles),
    )


def before_changes() -> tuple[Step, ...]:
    """Observe every host, then judge them all: a preview is this much of a run."""
    return (Step(title=OBSERVE, run=_observe), Step(title="check", run=_check))


def steps(waves: Sequence[Wave], only: frozenset[str] = frozenset()) -> tuple[Step, ...]:
    """Then take the lock and issue certificates if anything is to change, then each wave; a run that gets there has ended.

    `only`: the titles of the waves to carry out, when not all.
    """
    return (
        *before_changes(),
        Step(title=BEGIN, run=_begin),
        *(_wave(each) for each in _whole(waves) if not only or each.title in only),
        Step(title=END, run=_end),
    )


def step_of(waves: Sequence[Wave]) -> dict[str, str]:
    """The title of the step that makes a change, by the name that `Run.changed` has for it: a role's, or ISSUED."""
    return {role.name: one.title for one in _whole(waves) for role in one.roles} | {ISSUED: BEGIN}


def _whole(waves: Sequence[Wave]) -> tuple[Wave, ...]:
    """With the waves of the record of a host, which surround the others but the last ones."""
    first, last = (tuple(one for one in waves if one.last is late) for late in (False, True))
    return (wave(RECORD), *first, wave(LEFTOVERS), *last)


def run_step(run: Run, step: Step, host: str) -> None:
    """`step` on `host`. Raises what it raised; the first failure of a run is kept in `run.failure`."""
    if run.failure is not None:
        raise Stopped(f"{host}: not changed, because the run has failed")
    try:
        step.run(run, host)
    except Stopped:
        raise
    except Exception as error:
        if run.failure is None:
            run.failure = error
            # Problems are all hosts', and the summary has them.
            if not isinstance(error, ProblemsError):
                run.session.notify(Event(kind="failed", step=step.title, host=host, text=str(error)))
        raise
