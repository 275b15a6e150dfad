"""The verbs without hosts: their spec, the release before, the order that is told, and cluster.yaml at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from deploy.waves import CLUSTER, ROLES, ROLLBACK
from kubewright.errors import BadInput, Failed, HostsUnfit, KubewrightError, Problem, Refused
from kubewright.model.cluster import Plan
from kubewright.observe.live import live_of
from kubewright.observe.observed import Entry, Observed
from kubewright.plan.move import Move, Running, running
from kubewright.releases import release_for
from kubewright.releases.version import Version
from kubewright.run import run as engine
from kubewright.run.run import Run
from kubewright.run.session import Session
from kubewright.run.steps import Step, run_step
from kubewright.spec import ClusterSpec
from kubewright.verbs.apply import Summary
from kubewright.verbs.upgrade import moving, naming, stock, telling
from tests.support.fleet import FakeHost
from tests.support.live_hosts import reached
from tests.support.scenarios import fake_bundle, inventory, scenario, spec_of

HOSTS = "hosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}\n"
UP = Move(verb="upgrade", target=release_for("1.37.1"))


def _inventory(folder: Path, text: str) -> Path:
    (folder / "cluster.yaml").write_text(text)
    return folder


def test_the_spec_has_the_release_and_cluster_yaml_keeps_the_old_one(tmp_path: Path) -> None:
    text = f'name: a\nkubernetes: "1.36.3"\n{HOSTS}'
    assert naming.spec_for(_inventory(tmp_path, text), UP.target).kubernetes == "1.37.1"
    assert (tmp_path / "cluster.yaml").read_text() == text


def test_flags_that_the_release_does_not_know_are_told_all_at_once_with_their_lines(tmp_path: Path) -> None:
    text = (
        f'name: a\nkubernetes: "1.36.3"\n{HOSTS}extra_args:\n  kubelet:\n    boot-id-file: /x\n    containerd: /y\n'
        '  etcd:\n    experimental-initial-corrupt-check: "true"\n'
    )
    naming.spec_for(_inventory(tmp_path, text), release_for("1.36.3"))
    with pytest.raises(BadInput) as refused:
        naming.spec_for(tmp_path, UP.target)
    where = [problem.where for problem in refused.value.problems]
    assert where == [
        "cluster.yaml:7 extra_args.kubelet.boot-id-file",
        "cluster.yaml:8 extra_args.kubelet.containerd",
        "cluster.yaml:10 extra_args.etcd.experimental-initial-corrupt-check",
    ]


def test_a_file_in_which_the_release_can_not_be_replaced_is_bad_input(tmp_path: Path) -> None:
    text = "{name: a, kubernetes: 1.36.3, hosts: [{name: m1, address: 192.0.2.11, roles: [master]}]}\n"
    with pytest.raises(BadInput, match="its value can't be replaced"):
        naming.spec_for(_inventory(tmp_path, text), UP.target)


def test_at_the_end_cluster_yaml_names_the_release(tmp_path: Path) -> None:
    _inventory(tmp_path, f'name: a\nkubernetes: "1.36.3"  # ours\n{HOSTS}').joinpath("cluster.yaml").chmod(0o640)
    assert naming.write_release(tmp_path, UP.target)
    path = tmp_path / "cluster.yaml"
    assert path.read_text() == f'name: a\nkubernetes: "1.37.1"  # ours\n{HOSTS}'
    assert path.stat().st_mode & 0o777 == 0o640
    before = path.stat().st_mtime_ns
    assert naming.write_release(tmp_path, UP.target)
    assert path.stat().st_mtime_ns == before


_APISERVERS = "/opt/kubewright/kube-apiserver"


def _before(hosts: Mapping[str, Observed], *lines: str) -> dict[str, Observed]:
    """The hosts, whose masters keep these payloads of the release before."""
    target = "/opt/kubewright/kube-apiserver/1.37.1-0123abcd/kube-apiserver"
    started = {"kube-apiserver.service": {"/usr/local/bin/kube-apiserver": target}}
    return {
        name: dataclasses.replace(host, payloads=lines, started_with=started) if name.startswith("m") else host
        for name, host in hosts.items()
    }


def test_the_release_before_is_the_one_whose_folders_the_masters_have() -> None:
    lab = scenario("lab").plan
    hosts = _before(reached(lab, lab), "before /opt/kubewright/kube-apiserver/1.36.3-0123abcd/kube-apiserver", "now /x")
    assert moving.release_before(hosts, "1.37.1").kubernetes == "1.36.3"


def _earlier(path: str) -> str:
    return re.sub(r"/3\.7\.\d+-", "/3.6.14-", re.sub(r"/1\.37\.\d+-", "/1.36.3-", path))


def test_a_folder_that_no_record_calls_before_shows_a_move_that_has_not_ended() -> None:
    """From 1.36.3 on the way to 1.37.1 and all the way back, killed before the record was written. 1.35.4 was before both."""
    lab = scenario("lab").plan
    own, apiserver = "/opt/kubewright/kube-apiserver", "kube-apiserver"
    lines = (f"before {own}/1.35.4-0123abcd/{apiserver}", f"now {own}/1.36.3-0123abcd/{apiserver}")
    hosts = _before(reached(lab, lab), *lines)
    started = {f"{apiserver}.service": {f"/usr/local/bin/{apiserver}": f"{own}/1.36.3-0123abcd/{apiserver}"}}
    folder = Entry(kind="d", mode=0o755, owner="root", group="root", size=0)

    def back(extra: str = "") -> dict[str, Observed]:
        """Hosts that run 1.36.3 only."""
        found = {}
        for name, host in hosts.items():
            links = {
                path: dataclasses.replace(e, target=_earlier(e.target)) if e.kind == "l" else e
                for path, e in host.entries.items()
            }
            entries = {path: e for path, e in links.items() if "/1.37." not in path} | ({extra: folder} if extra else {})
            api = host.api and dataclasses.replace(
                host.api, nodes=tuple(dataclasses.replace(n, kubernetes="1.36.3") for n in host.api.nodes)
            )
            begun = started if name.startswith("m") else host.started_with
            found[name] = dataclasses.replace(host, entries=entries, started_with=begun, api=api)
        return found

    assert moving.release_before(back(f"{own}/1.37.1-0123abcd"), "1.36.3").kubernetes == "1.36.3"
    assert moving.release_before(back(), "1.36.3").kubernetes == "1.35.4", "that move has ended"


def test_a_rollback_goes_to_the_release_that_was_named_or_nowhere() -> None:
    lab = scenario("lab").plan
    hosts = _before(reached(lab, lab), "before /opt/kubewright/kube-apiserver/1.36.3-0123abcd/kube-apiserver", "now /x")

    def goes(to: str = "", *, unasked: bool = False) -> str:
        return moving.release_back(hosts, "1.37.1", to, unasked=unasked).kubernetes

    assert (goes(), goes("1.36.3", unasked=True)) == ("1.36.3", "1.36.3")
    assert goes("1.37.1", unasked=True) == "1.37.1", "it runs everywhere: the same command again changes nothing"
    with pytest.raises(BadInput, match=r"does not go back to 1\.35\.4"):
        goes("1.35.4")


def test_a_rollback_that_nobody_sees_names_its_release_unless_it_goes_on() -> None:
    """Repeated by a script, it would go one release further back each time."""
    lab = scenario("lab").plan
    hosts = _before(reached(lab, lab), "before /opt/kubewright/kube-apiserver/1.36.3-0123abcd/kube-apiserver", "now /x")
    with pytest.raises(BadInput, match=r"missing, with --yes and a cluster that runs 1\.37\.1 everywhere"):
        moving.release_back(hosts, "1.37.1", "", unasked=True)
    half = {
        "kube-apiserver.service": {"/usr/local/bin/kube-apiserver": _earlier(f"{_APISERVERS}/1.37.1-0123abcd/kube-apiserver")}
    }
    hosts["m1"] = dataclasses.replace(hosts["m1"], started_with=half)
    assert moving.release_back(hosts, "1.36.3", "", unasked=True).kubernetes == "1.36.3"


def test_without_such_folders_there_is_no_rollback_and_the_snapshot_is_named() -> None:
    lab = scenario("lab").plan
    with pytest.raises(Failed, match=r"no rollback: .*the way back is the snapshot"):
        moving.release_before(_before(reached(lab, lab)), "1.37.1")


def test_a_units_version_is_the_one_it_was_started_with_not_the_linked_one() -> None:
    lab = scenario("lab").plan
    hosts = _before(reached(lab, lab))
    older = {"/usr/local/bin/kube-apiserver": "/opt/kubewright/kube-apiserver/1.36.3-0123abcd/kube-apiserver"}
    hosts["m1"] = dataclasses.replace(hosts["m1"], started_with={"kube-apiserver.service": older})
    found = running(hosts, live_of(hosts))
    assert found.of("kube-apiserver")["m1"] == Version(1, 36, 3)
    assert found.of("kubelet")["w1"] == Version.parse(lab.release.kubernetes), "not known from its start: the link's"


def _looked_at(hosts: Mapping[str, Observed], folder: Path) -> tuple[list[Problem], list[Problem]]:
    """What the checks find on those hosts, none of which answers any question."""
    lab = scenario("lab").plan
    run = SimpleNamespace(
        plan=lab, observed=hosts, live=live_of(hosts), inventory=folder,
        issuing=SimpleNamespace(store=SimpleNamespace(entries={})),
        hosts={name: SimpleNamespace(**{"shell": lambda _script: ""}) for name in hosts},
    )  # fmt: skip
    return moving.Checks(move=Move(verb="upgrade", target=lab.release))(cast("Run", run))


def _silent(hosts: Mapping[str, Observed], halted: str = "") -> dict[str, Observed]:
    """Neither etcd nor the API answers. Every unit's start is on record, but for those of `halted`."""
    started = {f"{name}.service": dict[str, str]() for name in ("etcd", "kube-apiserver", "kube-controller-manager",
                                                                "kube-scheduler", "kubelet", "kube-proxy")}  # fmt: skip
    return {
        name: dataclasses.replace(host, api=None, etcd=None, started_with={} if name == halted else started)
        for name, host in hosts.items()
    }


def test_a_cluster_that_does_not_answer_is_not_moved(tmp_path: Path) -> None:
    lab = scenario("lab").plan
    refusals, (found,) = _looked_at(_silent(reached(lab, lab)), tmp_path)
    assert refusals == [] and found.what == "no answer from etcd and the API on any host"


def test_a_move_that_was_killed_while_the_only_etcd_was_stopped_goes_on(tmp_path: Path) -> None:
    lab = scenario("lab").plan
    assert _looked_at(_silent(reached(lab, lab), halted="m1"), tmp_path) == ([], [])


def test_a_worker_that_was_left_stopped_is_no_reason_for_a_silent_cluster(tmp_path: Path) -> None:
    lab = scenario("lab").plan
    _, found = _looked_at(_silent(reached(lab, lab), halted="w1"), tmp_path)
    assert [problem.what for problem in found] == ["no answer from etcd and the API on any host"]


def test_a_unit_that_an_apply_left_without_a_record_does_not_silence_the_checks(tmp_path: Path) -> None:
    lab = scenario("lab").plan
    hosts = dict(reached(lab, lab))
    hosts["w1"] = dataclasses.replace(hosts["w1"], started_with={})
    hosts["m2"] = dataclasses.replace(hosts["m2"], etcd=None)
    _, found = _looked_at(hosts, tmp_path)
    assert [(problem.where, problem.what) for problem in found] == [("m2", "its etcd member does not answer")]


# -- the order


def _run(folder: Path, monkeypatch: pytest.MonkeyPatch, waves: tuple[object, ...], move: Move) -> Run:
    """A checked run over hosts that have nothing yet: everything is due."""
    monkeypatch.setattr(engine, "obtain_all", lambda release, *_a, **_k: fake_bundle(release))
    session = Session(inventory=folder, spec=inventory("lab"), roles=ROLES)
    made = scenario("lab")
    for node in session.plan.nodes:
        state = dataclasses.replace(made.observed(node.name), clock=time.time(), etcd_leads=node.name == "m1")
        session.hosts[node.name] = FakeHost(name=node.name, state=state, log=[])
    run = Run(session=session, waves=waves, move=move)  # type: ignore[arg-type]
    session.observe_all()
    run.check()
    return run


def _versions(plan: Plan, kubernetes: str, etcd: str) -> Running:
    masters = {n.name: Version.parse(kubernetes) for n in plan.masters}
    kubelets = {n.name: Version.parse(kubernetes) for n in plan.kubelets}
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    members = {n.name: Version.parse(etcd) for n in plan.etcd_members}
    return Running(components={**dict.fromkeys(names, masters), "kubelet": kubelets, "kube-proxy": kubelets, "etcd": members})


def test_an_upgrade_tells_its_steps_in_order_the_leader_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move = dataclasses.replace(UP, max_unavailable=2, eviction_seconds=90)
    run = _run(tmp_path, monkeypatch, CLUSTER, move)
    steps = [str(step) for step in telling.steps(run, move, _versions(run.plan, "1.36.3", "3.6.14"))]
    told = [step for step in steps if "->" in step]
    assert steps[0] == "take a snapshot of etcd (beside the inventory, in backups/)"
    assert told == [
        "etcd 3.6.14 -> 3.7.3: m2, m3, m1 (one at a time, the leader last)",
        "kube-apiserver 1.36.3 -> 1.37.1: m1, m2, m3 (one at a time)",
        "kube-controller-manager 1.36.3 -> 1.37.1, kube-scheduler 1.36.3 -> 1.37.1: m1, m2, m3 (one at a time)",
        "kubelet 1.36.3 -> 1.37.1, kube-proxy 1.36.3 -> 1.37.1: m1, m2, m3, w1, w2 "
        "(at most 2 at once; each is drained first, and its pods get 90 s; then it takes pods again)",
    ]
    assert steps.index(told[-1]) < next(n for n, step in enumerate(steps) if step.startswith("coredns"))


def test_a_rollback_goes_the_other_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    move = Move(verb="rollback", target=release_for("1.37.1"))
    run = _run(tmp_path, monkeypatch, ROLLBACK, move)
    titles = [step.title.split()[0] for step in telling.steps(run, move, _versions(run.plan, "1.37.0", "3.7.4"))]
    order = ["kubelet", "kube-controller-manager", "kube-apiserver", "etcd"]
    assert [title for title in titles if title in order] == order


def test_the_waves_of_a_rollback_are_those_of_an_upgrade() -> None:
    assert sorted(wave.title for wave in ROLLBACK) == sorted(wave.title for wave in CLUSTER)
    titles = [wave.title for wave in ROLLBACK]
    assert titles.index("base") < titles.index("kubelets") < titles.index("controllers") < titles.index("apiserver")
    assert titles.index("apiserver") < titles.index("etcd") < titles.index("etcd_users")


def test_the_point_of_no_return_is_announced_once_and_not_after_it() -> None:
    plan = scenario("lab").plan
    crossing = telling.announced(_versions(plan, "1.36.3", "3.6.14"), UP)
    assert len(crossing) == 2 and "point of no return: once every member runs etcd 3.7.3" in crossing[0]
    beyond = telling.announced(_versions(plan, "1.36.3", "3.7.3"), UP)
    assert len(beyond) == 1 and "objects" in beyond[0]
    assert telling.announced(_versions(plan, "1.37.0", "3.7.3"), UP) == ()


def test_stock_pyinfra_tells_the_point_of_no_return_before_it_asks() -> None:
    found = moving.Checks(
        move=UP, remarks=("w1: cordoned by somebody",), running=_versions(scenario("lab").plan, "1.36.3", "3.6.14")
    )
    said: list[str] = []
    stock.told(cast("Run", SimpleNamespace(further=found, say=said.append)))
    assert said[0] == "note: w1: cordoned by somebody"
    assert said[1].startswith("note: point of no return: once every member runs etcd 3.7.3")


def test_where_only_the_snapshot_leads_back_that_is_said_before_it_starts() -> None:
    (said,) = telling.announced(_versions(scenario("lab").plan, "1.36.3", "3.5.33"), UP)
    assert said.startswith("no rollback leads back from this upgrade (etcd goes from 3.5.33 to 3.7.3)")


def test_where_it_stands_is_told_by_component() -> None:
    plan = scenario("lab").plan
    found = _versions(plan, "1.36.3", "3.7.3")
    found = Running(components={**found.components, "kube-apiserver": {"m1": Version(1, 37, 1), "m2": Version(1, 36, 3)}})
    rows = dict(telling.table(found))
    assert rows["kube-apiserver"] == {Version(1, 36, 3): ("m2",), Version(1, 37, 1): ("m1",)}
    assert telling.left(found, UP)[0] == "kube-apiserver 1.37.1: still to do on m2"
    assert not any(line.startswith("etcd") for line in telling.left(found, UP))


# -- the whole verb, without connections


class World:
    """Hosts that have nothing yet stand for a cluster with everything to do; `fails`: what carrying it out ends with."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, fails: Exception | None = None) -> None:
        self.folder, self.carried = folder, 0
        text = (Path(__file__).parents[4] / "inventories/lab/cluster.yaml").read_text()
        _inventory(folder, f'{text}kubernetes: "1.36.3"  # ours\n')
        monkeypatch.setattr(naming, "loads", lambda raw, **_: _spec(raw))
        monkeypatch.setattr(naming, "load", lambda _folder: _spec((folder / "cluster.yaml").read_bytes()))
        monkeypatch.setattr(engine, "obtain_all", lambda release, *_a, **_k: fake_bundle(release))
        monkeypatch.setattr(engine, "at_hand", lambda release, *_a, **_k: fake_bundle(release))
        monkeypatch.setattr(moving, "connected", self._connected)
        monkeypatch.setattr(moving, "execute", self._execute)
        self.refusals: list[Problem] = []
        self.findings: list[Problem] = []

        def checked(checks: moving.Checks, run: Run) -> tuple[list[Problem], list[Problem]]:
            checks.running = _versions(run.plan, "1.36.3", "3.6.14")
            return self.refusals, self.findings

        monkeypatch.setattr(moving.Checks, "__call__", checked)

        def carry_out(run: Run, _began: float) -> Summary:
            self.carried += 1
            return Summary(
                changed={}, undone={}, unmanaged=(), without=(), seconds={}, total=0, commands={}, sent={}, failure=fails
            )

        monkeypatch.setattr(moving, "carry_out", carry_out)

    @contextlib.contextmanager
    def _connected(self, session: Session) -> Iterator[Session]:
        made = scenario("lab")
        for node in session.plan.nodes:
            state = dataclasses.replace(made.observed(node.name), clock=time.time())
            session.hosts[node.name] = FakeHost(name=node.name, state=state, log=[])
        yield session

    @staticmethod
    def _execute(run: Run, steps: Sequence[Step]) -> None:
        for step in steps:
            for name in run.hosts:
                with contextlib.suppress(KubewrightError):
                    run_step(run, step, name)

    def upgrade(self, accept: bool = True, **options: Any) -> moving.Outcome:
        told = moving.Options(**options)
        return moving.upgrade(self.folder, CLUSTER, lambda _event: None, "1.37.1", told, lambda _outcome: accept)

    @property
    def release(self) -> str:
        return (self.folder / "cluster.yaml").read_text().splitlines()[-1]


def _spec(raw: bytes) -> ClusterSpec:
    return spec_of(raw.decode())


def test_a_finished_upgrade_lets_cluster_yaml_name_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    outcome = world.upgrade()
    assert world.carried == 1 and outcome.edited and outcome.summary is not None
    assert world.release == 'kubernetes: "1.37.1"  # ours'


def test_what_was_only_looked_at_or_not_accepted_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    outcome = world.upgrade(accept=False, plan=True)
    assert outcome.steps and outcome.announced and outcome.summary is None
    assert (world.carried, world.release) == (0, 'kubernetes: "1.36.3"  # ours')


def test_a_failed_upgrade_leaves_cluster_yaml_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch, fails=Failed("w1: its node can't be drained"))
    assert world.upgrade().summary is not None
    assert (world.carried, world.release) == (1, 'kubernetes: "1.36.3"  # ours')


def test_what_stands_in_the_way_is_raised_before_a_person_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    world.findings = [Problem(where="etcd", what="the alarm NOSPACE is raised", allowed="", todo="free space")]
    with pytest.raises(HostsUnfit, match="NOSPACE"):
        world.upgrade()
    world.refusals = [Problem(where="m1", what="1.37.1 skips a minor release", allowed="", todo="go to 1.36.3")]
    with pytest.raises(Refused) as refused:
        world.upgrade()
    assert refused.value.exit_code == 3 and {p.where for p in refused.value.problems} == {"etcd", "m1"}
    assert world.carried == 0
