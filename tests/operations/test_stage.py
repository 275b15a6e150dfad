"""The exact shell for given changes on a host."""

from __future__ import annotations

from pathlib import Path

from kubewright.hosts.script import Staged, _prelude, records_of, stage
from kubewright.plan.changes import Action, Changes, UnitChange
from kubewright.plan.desired import Directory, File, Link, Payload, Stored, Unit
from kubewright.releases.systems import System, system_of

UNIT = Unit(name="etcd.service", gate="ask others", before_stop="hand over", ready="ask it", timeout=60)
RECORD = {"/etc/etcd/x": "a" * 64, "/usr/local/bin/etcd": "/opt/kubewright/etcd/1/etcd"}
PLACE = "place started.0 /var/lib/kubewright/started/etcd.service root root 0600"
SECRETS = {"sa": b"KEY\n"}


def _content(file: File) -> bytes:
    return SECRETS[file.content.name] if isinstance(file.content, Stored) else file.content


def _system(os_id: str = "debian", version: str = "12") -> System:
    found = system_of(os_id, version)
    assert found is not None
    return found


def _stage(changes: Changes, system: System | None = None) -> Staged:
    return stage(changes, system or _system(), _content)


def _lines(changes: Changes, system: System | None = None) -> list[str]:
    text = _stage(changes, system).files["act.sh"].decode()
    return text.removeprefix(_prelude()).strip().splitlines()


def _change(action: Action, unit: Unit = UNIT) -> Changes:
    return Changes(units=(UnitChange(unit=unit, action=action, causes=(), record=RECORD),))


def test_packages_come_from_the_systems_own_manager() -> None:
    packages = Changes(packages=("socat", "zstd"))
    assert _lines(packages) == [
        "proxy_on",
        "export DEBIAN_FRONTEND=noninteractive; patient apt-get -qq update && "
        "patient apt-get -qq install -y --no-install-recommends socat zstd >/dev/null",
        "proxy_off",
    ]
    assert _lines(packages, _system("rocky", "9.6")) == ["proxy_on", "dnf -q -y install socat zstd", "proxy_off"]


def test_users_and_folders() -> None:
    directory = Directory(path="/var/lib/etcd", owner="etcd", group="etcd", mode=0o700)
    assert _lines(Changes(users=("etcd",), directories=(directory,))) == [
        "id -u etcd >/dev/null 2>&1 || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin etcd",
        "install -d -o etcd -g etcd -m 0700 /var/lib/etcd",
    ]


def test_files_and_links_are_placed() -> None:
    file = File(path="/etc/kubernetes/a b", content=b"x")
    secret = File(path="/etc/kubernetes/sa.key", content=Stored(name="sa", sha256="0"), owner="etcd", group="etcd", mode=0o600)
    changes = Changes(files=(file, secret), links=(Link(path="/usr/local/bin/x", target="/opt/kubewright/x/1/x"),))
    assert _lines(changes) == [
        "place file.0 '/etc/kubernetes/a b' root root 0644",
        "place file.1 /etc/kubernetes/sa.key etcd etcd 0600",
        "link /usr/local/bin/x /opt/kubewright/x/1/x",
    ]
    staged = _stage(changes).files
    assert (staged["file.0"], staged["file.1"]) == (b"x", b"KEY\n")
    assert b"KEY" not in staged["act.sh"]


def test_a_restart_asks_its_gate_transfers_leadership_and_is_recorded_last() -> None:
    assert _lines(_change(Action.RESTART)) == [
        "sh -u gate.0 >&2 || { say 'refused: etcd.service is not restarted'; exit 75; }",
        "systemctl enable -q etcd.service",
        "sh -eu before.0 >&2",
        "systemctl reset-failed -q etcd.service 2>/dev/null || true",
        "rm -f /var/lib/kubewright/started/etcd.service",
        "unstick etcd.service",
        "timeout 60 systemctl restart etcd.service || failed etcd.service",
        "wait_ready etcd.service 60 ready.0",
        PLACE,
    ]
    staged = _stage(_change(Action.RESTART)).files
    assert (staged["gate.0"], staged["before.0"], staged["ready.0"]) == (b"ask others", b"hand over", b"ask it")
    assert staged["started.0"].decode() == f"{'a' * 64} /etc/etcd/x\n/opt/kubewright/etcd/1/etcd /usr/local/bin/etcd\n"


def test_a_first_start_asks_no_gate() -> None:
    assert _lines(_change(Action.START)) == [
        "systemctl enable -q etcd.service",
        "systemctl reset-failed -q etcd.service 2>/dev/null || true",
        "rm -f /var/lib/kubewright/started/etcd.service",
        "unstick etcd.service",
        "timeout 60 systemctl start etcd.service || failed etcd.service",
        "wait_ready etcd.service 60 ready.0",
        PLACE,
    ]


def test_enabling_stops_nothing() -> None:
    assert _lines(_change(Action.ENABLE)) == [
        "systemctl enable -q etcd.service",
        "wait_ready etcd.service 60 ready.0",
        PLACE,
    ]


def test_a_unit_without_its_own_shell_is_only_restarted() -> None:
    assert _lines(_change(Action.RESTART, Unit(name="x.service"))) == [
        "systemctl enable -q x.service",
        "systemctl reset-failed -q x.service 2>/dev/null || true",
        "rm -f /var/lib/kubewright/started/x.service",
        "unstick x.service",
        "timeout 120 systemctl restart x.service || failed x.service",
        "place started.0 /var/lib/kubewright/started/x.service root root 0600",
    ]


def test_a_late_file_is_placed_only_after_its_apply_succeeded() -> None:
    late = File(path="/etc/kubernetes/addons/x.yaml", content=b"x", apply='kubectl apply -f "$new"')
    assert _lines(Changes(late=(late,))) == [
        "export here new=$here/late.0 path=/etc/kubernetes/addons/x.yaml; sh -eu apply.0",
        "place late.0 /etc/kubernetes/addons/x.yaml root root 0644",
    ]
    staged = _stage(Changes(late=(late,))).files
    assert (staged["late.0"], staged["apply.0"]) == (b"x", b'kubectl apply -f "$new"')


def test_the_order_is_gates_packages_users_folders_files_links_reload_units_late() -> None:
    unit = UnitChange(unit=UNIT, action=Action.RESTART, causes=(), record={})
    changes = Changes(
        packages=("socat",),
        users=("etcd",),
        directories=(Directory(path="/d"),),
        payloads=(Payload(path="/opt/kubewright/x", sha256="0", size=1, mode=0o755, local=Path("/nonexistent"), packed=5),),
        files=(File(path="/f", content=b""),),
        links=(Link(path="/l", target="/t"),),
        units=(unit, unit),
        late=(File(path="/late", content=b"", apply="true"),),
        reload=True,
    )
    starts = [" ".join(line.split()[:2]) for line in _lines(changes)]
    assert starts == [
        "sh -u",
        "sh -u",
        "proxy_on",
        "export DEBIAN_FRONTEND=noninteractive;",
        "proxy_off",
        "id -u",
        "install -d",
        "place file.0",
        "link /l",
        "systemctl daemon-reload",
        *[
            "systemctl enable",
            "sh -eu",
            "systemctl reset-failed",
            "rm -f",
            "unstick etcd.service",
            "timeout 60",
            "wait_ready etcd.service",
            "place started.0",
        ],
        *[
            "systemctl enable",
            "sh -eu",
            "systemctl reset-failed",
            "rm -f",
            "unstick etcd.service",
            "timeout 60",
            "wait_ready etcd.service",
            "place started.1",
        ],
        "export here",
        "place late.0",
    ]


def test_two_units_of_one_step_do_not_share_files() -> None:
    unit = UnitChange(unit=UNIT, action=Action.RESTART, causes=(), record={})
    names = set(_stage(Changes(units=(unit, unit))).files)
    assert {"gate.0", "gate.1", "before.0", "before.1", "ready.0", "ready.1", "started.0", "started.1"} <= names


def test_the_record_of_a_start_can_be_left_for_later() -> None:
    changes = _change(Action.RESTART)
    now = stage(changes, _system("debian", "12"), lambda file: b"", remember=False)
    later = records_of(changes)
    assert "place started.0" not in now.files["act.sh"].decode().removeprefix(_prelude())
    lines = later.files["act.sh"].decode().removeprefix(_prelude()).strip().splitlines()
    assert lines == ["place started.0 /var/lib/kubewright/started/etcd.service root root 0600"]
    assert later.files["started.0"]
