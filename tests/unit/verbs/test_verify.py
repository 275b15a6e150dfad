"""The shared work of `verify`'s checks: round trips and fixtures; and its checks of certificates."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from xml.etree import ElementTree

import gevent
import pytest
from cryptography.hazmat.primitives import hashes

from deploy.waves import ROLES
from kubewright.errors import Failed
from kubewright.hosts.remote import Answer
from kubewright.model.cluster import Plan
from kubewright.plan.role import Fixture, on_masters
from kubewright.tls import port_certificates
from kubewright.tls.serving import Shown
from kubewright.verbs.fixtures import Fixtures
from kubewright.verbs.questions import Questions, answers, script
from kubewright.verbs.verify import Result, junit, settled
from pki import certificates
from tests.support.scenarios import filled_store, scenario

PLAN = scenario("lab").plan
NOW = dt.datetime.now(dt.UTC)


class Here:
    """A remote host that is this machine."""

    name = "here"

    def __init__(self) -> None:
        self.commands = 0

    def run(self, _command: str, stdin: Any, *, timeout: float) -> Answer:
        self.commands += 1
        gevent.sleep(0)
        done = subprocess.run(["sh"], input=b"".join(stdin), capture_output=True, check=False, timeout=timeout)
        return Answer(status=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())


def _ask(questions: Questions, *lines: str) -> list[Answer]:
    jobs = [gevent.spawn(questions.ask, line) for line in lines]
    gevent.joinall(jobs, raise_error=True)
    return [job.value for job in jobs]


def test_simultaneous_questions_are_one_command_and_each_gets_its_own_answer() -> None:
    here = Here()
    asked = _ask(Questions(cast(Any, here)), "echo one; exit 3", "echo 'two  words' >&2", "printf 'a\\n\\nb'", "echo one; exit 3")
    assert here.commands == 1
    assert asked == [
        Answer(status=3, stdout="one\n", stderr=""),
        Answer(status=0, stdout="", stderr="two  words\n"),
        Answer(status=0, stdout="a\n\nb", stderr=""),
        Answer(status=3, stdout="one\n", stderr=""),
    ]


def test_a_later_question_is_asked_again() -> None:
    questions = Questions(cast(Any, here := Here()))
    assert _ask(questions, "echo $$") != _ask(questions, "echo $$")
    assert here.commands == 2


def test_the_questions_leave_nothing_on_the_host() -> None:
    before = set(Path("/run").glob("kubewright-verify.*"))
    _ask(Questions(cast(Any, Here())), "true")
    assert set(Path("/run").glob("kubewright-verify.*")) <= before


def test_a_question_without_an_answer_is_ended_and_reported() -> None:
    shell = script(["sleep 60", "echo two"]).replace("timeout -k 1 8", "timeout -k 1 0.2")
    said = subprocess.run(["sh"], input=shell.encode(), capture_output=True, check=True).stdout.decode()
    assert answers(said, 2) == [
        Answer(status=124, stdout="", stderr="no answer in 8 s"),
        Answer(status=0, stdout="two\n", stderr=""),
    ]


def test_an_incomplete_answer_fails_every_waiting_check() -> None:
    with pytest.raises(Failed, match="can't be read"):
        answers("kubewright-answer 0 0  \n", 2)
    broken = SimpleNamespace(name="m1", run=lambda *_a, **_k: Answer(status=71, stdout="", stderr="No space left on device"))
    questions = Questions(cast(Any, broken))
    jobs = [gevent.spawn(questions.ask, line) for line in ("a", "b")]
    gevent.joinall(jobs)
    assert all("No space left on device" in str(job.exception) for job in jobs)


# -- a second look


def _look(*messages: str) -> tuple[Any, list[str]]:
    """A check with a list of messages, and the hosts that it ran for."""
    left, asked = list(messages), []

    def look(name: str, _role: Any, _check: Any) -> Result:
        asked.append(name)
        return Result(host=name, role="x", check="y", message=left.pop(0))

    return look, asked


WANTED: Any = [("m1", None, None), ("m2", None, None)]


def test_only_failed_checks_run_again() -> None:
    look, asked = _look("", "not yet", "not yet", "")
    results = settled(look, WANTED, (0, 0, 0))
    assert [result.holds for result in results] == [True, True]
    assert asked == ["m1", "m2", "m2", "m2"]


def test_a_check_that_never_passes_fails_with_its_last_message() -> None:
    look, asked = _look("", "first", "second", "last")
    assert [result.message for result in settled(look, WANTED, (0, 0))] == ["", "last"]
    assert len(asked) == 4


def test_without_a_second_look_no_check_runs_again() -> None:
    look, asked = _look("", "no")
    assert [result.message for result in settled(look, WANTED, ())] == ["", "no"]
    assert asked == ["m1", "m2"]


# -- fixtures


def _fixture(log: list[str], *, makes: str = "", removes: str = "") -> Fixture:
    def make(hosts: Mapping[str, Any], _plan: Plan, name: str) -> str:
        log.append(f"make on {','.join(hosts)}")
        if makes:
            raise AssertionError(makes)
        return name

    def remove(_hosts: Mapping[str, Any], _plan: Plan, _name: str) -> None:
        log.append("remove")
        if removes:
            raise AssertionError(removes)

    return Fixture(title="a thing", on=on_masters, make=make, remove=remove)


HOSTS = {"w1": object(), "m2": object()}


def test_a_fixture_is_made_once_on_its_hosts_and_removed_after_the_checks() -> None:
    log: list[str] = []
    fixture = _fixture(log)
    with Fixtures(HOSTS, PLAN, [("coredns", fixture), ("coredns", fixture)]) as fixtures:
        assert fixtures.made(fixture) and log == ["make on m2"]
    assert log == ["make on m2", "remove"] and not fixtures.broken


def test_a_fixture_that_cannot_be_made_fails_its_checks_and_is_still_removed() -> None:
    log: list[str] = []
    fixture = _fixture(log, makes="no master answers")
    with Fixtures(HOSTS, PLAN, [("coredns", fixture)]) as fixtures, pytest.raises(AssertionError, match="not tried"):
        fixtures.made(fixture)
    assert log == ["make on m2", "remove"]
    assert [(b.host, b.role, b.why) for b in fixtures.broken] == [("m2", "coredns", "no master answers")]


def test_leftovers_of_a_fixture_are_reported() -> None:
    with Fixtures(HOSTS, PLAN, [("coredns", _fixture([], removes="it is left in kube-system"))]) as fixtures:
        pass
    assert [b.why for b in fixtures.broken] == ["it is left in kube-system"]


def test_a_fixture_is_removed_when_the_checks_are_interrupted() -> None:
    log: list[str] = []
    with pytest.raises(KeyboardInterrupt), Fixtures(HOSTS, PLAN, [("coredns", _fixture(log))]):
        raise KeyboardInterrupt
    assert log[-1] == "remove"


# -- certificates


def test_a_served_certificate_is_the_one_on_disk_and_has_not_expired(tmp_path: Path) -> None:
    store = filled_store(PLAN, tmp_path, NOW)
    mine, other = (certificates.from_pem(store.certificate(f"kubelet-server/{n}")) for n in ("w1", "w2"))

    def shown(certificate: Any) -> Shown:
        digest = certificate.fingerprint(hashes.SHA256()).hex()
        return Shown(name="x", fingerprint=digest, not_after=certificate.not_valid_after_utc)

    file = store.certificate("kubelet-server/w1")
    assert not port_certificates.judged(shown(mine), file, "/x.crt", NOW)
    assert "another certificate" in port_certificates.judged(shown(other), file, "/x.crt", NOW)
    assert "expired" in port_certificates.judged(shown(mine), file, "/x.crt", NOW + dt.timedelta(days=4000))
    assert "missing" in port_certificates.judged(shown(mine), b"", "/x.crt", NOW)
    assert "refused" in port_certificates.judged(Shown(name="x", broken="refused"), file, "/x.crt", NOW)


def test_a_host_that_forwards_no_connections_is_skipped_and_not_failed() -> None:
    def dial(*_: object) -> Any:
        raise Failed("w1: its sshd refuses to carry a connection")

    found = port_certificates.findings({"w1": cast(Any, SimpleNamespace(dial=dial, read=lambda _paths: {}))}, PLAN, ROLES)
    assert [(f.message, f.skipped) for f in found] == [("", "w1: its sshd refuses to carry a connection")]


def test_checks_that_did_not_run_are_skipped_in_junit() -> None:
    results = [
        Result(host="m1", role="etcd", check="a"),
        Result(host="m1", role="etcd", check="b", message="no"),
        Result(host="m1", role="etcd", check="c", skipped="because"),
    ]
    suite = ElementTree.fromstring(junit(results))  # noqa: S314 we wrote it
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert [r.holds for r in results] == [True, False, False]
