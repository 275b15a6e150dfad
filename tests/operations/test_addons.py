"""The shell that applies add-ons, run with a kubectl that keeps a log and answers as the test says."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubewright.observe.objects import Item
from kubewright.plan.addons import Rendered, task
from tests.unit.plan.test_addons import body, index, seen

# Objects that the API has: files called there-NAME, whose text is `UID LABEL MANAGERS`. `broken`: names that never get ready.
# A wait for them takes all of its time, by `clock`.
# Files called found-NAME: a row of `get -f`, as kubectl 1.37.1 prints it. `closed`: why there is none.
# `denied`: what a refusal to delete says. `down`: what the list of kinds lacks.
KUBECTL = r"""#!/bin/sh
printf '%s\n' "$*" >> "$STATE/log"
case " $* " in
  *" apply "*)
    while [ "$1" != -f ]; do shift; done
    if grep -q '"refused"' "$2"; then echo "Error from server (Invalid): it is refused" >&2; exit 1; fi
    cat "$2" >> "$STATE/applied"
    if [ "${3-}" = -o ]; then cat "$STATE/uids"; fi ;;
  *" rollout status "*)
    for name in $(cat "$STATE/broken"); do case "$*" in *"/$name "*)
      seconds=${*##*--timeout=} && echo $(($(cat "$STATE/clock") + ${seconds%s})) > "$STATE/clock"
      cat "$STATE/said" >&2
      exit 1 ;;
    esac; done ;;
  *" get -f "*)
    while [ "$1" != -f ]; do shift; done
    if [ -e "$STATE/closed" ]; then cat "$STATE/closed" >&2; exit 1; fi
    # As kubectl 1.37.1: nothing at all is shown when one kind is unknown.
    if grep -q Widget "$2" && ! grep -q Widget "$STATE/kinds"; then echo 'no matches for kind "Widget"' >&2; exit 1; fi
    for name in $(sed 's/.*"name": "\([^"]*\)".*/\1/' "$2"); do
      [ ! -e "$STATE/found-$name" ] || cat "$STATE/found-$name"
    done ;;
  *" api-resources "*)
    cat "$STATE/kinds"
    if [ -s "$STATE/down" ]; then cat "$STATE/down" >&2; exit 1; fi ;;
  *" delete --raw "*)
    if [ -s "$STATE/denied" ]; then cat "$STATE/denied" >&2; exit 1; fi
    while [ "$1" != --raw ]; do shift; done
    rm "$STATE/there-${2##*/}" ;;
  *"jsonpath={.metadata.uid}"*)
    while [ "$1" != get ]; do shift; done
    [ ! -e "$STATE/there-$3" ] || sed 's/ .*//' "$STATE/there-$3" ;;
  *" get pods "*) cat "$STATE/pods" ;;
  *" get events "*) printf '%s\n' "other-1: Failed: no" "$(cat "$STATE/broken")-1: FailedMount: no such Secret" ;;
  *"matchLabels"*) echo "app=web," ;;
  *"ReplicaFailure"*) : ;;
  *"managedFields"*)
    # -n NAMESPACE get PLURAL NAME ...
    while [ "$1" != get ]; do shift; done
    cat "$STATE/there-$3" 2>/dev/null ;;
esac
exit 0
"""


@dataclass(frozen=True, kw_only=True)
class Host:
    folder: Path

    def run(self, content: bytes, script: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "new").write_bytes(content)
        script = script.replace("/usr/local/bin/kubectl", str(self.folder / "kubectl"))
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        environment = {"PATH": path, "here": str(self.folder), "new": str(self.folder / "new"), "LC_ALL": "C"}
        environment["STATE"] = str(self.folder)
        return subprocess.run(
            ["sh", "-eu", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def said(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    (tmp_path / "kinds").write_text("configmaps cm v1 true ConfigMap\ndeployments deploy apps/v1 true Deployment\n")
    (tmp_path / "broken").write_text("")
    (tmp_path / "clock").write_text("1000")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "date").write_text('#!/bin/sh\ncat "$STATE/clock"\n')
    (tmp_path / "bin" / "date").chmod(0o755)
    (tmp_path / "said").write_text("error: timed out waiting for the condition\n")
    (tmp_path / "uids").write_text("uid-8 uid-9\n")
    (tmp_path / "pods").write_text("web-1: ErrImagePull: no such image\n")
    return Host(folder=tmp_path)


def done(host: Host, *wanted: Rendered, recorded: dict[str, tuple[Item, ...]] | None = None) -> subprocess.CompletedProcess[str]:
    found = task(wanted, seen(*(index(name, "old", *items) for name, items in (recorded or {}).items())))
    assert found is not None
    return host.run(found.content, found.apply)


def deployment(name: str) -> Rendered:
    return Rendered(name=name, objects=(body("Deployment", name, version="apps/v1"),))


OLD = Item(version="v1", kind="ConfigMap", namespace="demo", name="old")


def finished(host: Host, name: str) -> bool:
    """Whether the add-on's index has a sum, which is written last."""
    indexes = [json.loads(line) for line in host.said("applied").splitlines() if f'"addon-{name}"' in line]
    return bool(indexes) and indexes[-1]["metadata"]["annotations"]["kubewright/applied"] != "begun"


def test_a_ready_add_on_gets_its_sum_last(host: Host) -> None:
    answer = done(host, deployment("one"))
    assert (answer.returncode, answer.stderr) == (0, "")
    kinds = [json.loads(line)["kind"] for line in host.said("applied").splitlines()]
    assert kinds == ["ConfigMap", "List", "ConfigMap"] and finished(host, "one")


def test_a_broken_add_on_is_named_with_its_pods_reasons_and_the_others_are_applied(host: Host) -> None:
    (host.folder / "broken").write_text("two")
    answer = done(host, deployment("one"), deployment("two"), deployment("three"), recorded={"two": (OLD,)})
    assert answer.returncode == 1
    expected = "add-on two: Deployment demo/two is not ready, waited for up to 120 s: web-1: ErrImagePull: no such image\n"
    assert answer.stderr == expected
    assert finished(host, "one") and finished(host, "three") and not finished(host, "two")
    assert "delete" not in host.said("log"), "what it replaces may serve"


def test_the_workloads_of_an_add_on_are_waited_for_one_after_the_other_within_the_time_of_one(host: Host) -> None:
    """On a live master, a thousand processes at once would starve what serves there."""
    (host.folder / "broken").write_text("b c")
    whole = Rendered(name="many", objects=tuple(body("Deployment", name, version="apps/v1") for name in "abcd"))
    answer = done(host, whole)
    waits = [line.split()[-2:] for line in host.said("log").splitlines() if "rollout status" in line]
    assert waits == [
        ["Deployment/a", "--timeout=120s"],
        ["Deployment/b", "--timeout=120s"],
        ["Deployment/c", "--timeout=1s"],
        ["Deployment/d", "--timeout=1s"],
    ]
    named = [line.split()[3] for line in answer.stderr.splitlines()]
    assert named == ["demo/b", "demo/c"], "what is ready passes after the deadline too"


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ("", 'error: deployment "two" exceeded its progress deadline'),
        ("web-1: Pending\n", 'web-1: Pending; error: deployment "two" exceeded its progress deadline'),
    ],
)
def test_what_kubectl_says_of_a_workload_is_a_reason_too(host: Host, pods: str, expected: str) -> None:
    (host.folder / "broken").write_text("two")
    (host.folder / "pods").write_text(pods)
    (host.folder / "said").write_text('error: deployment "two" exceeded its progress deadline\n')
    assert done(host, deployment("two")).stderr.endswith(f"waited for up to 120 s: {expected}\n")


def test_of_a_pod_that_is_being_created_the_warnings_are_named(host: Host) -> None:
    (host.folder / "broken").write_text("two")
    (host.folder / "pods").write_text("two-1: ContainerCreating\n")
    answer = done(host, deployment("two"))
    assert answer.stderr.endswith("120 s: two-1: ContainerCreating; two-1: FailedMount: no such Secret\n")


def test_an_add_on_that_the_api_refuses_is_named_and_the_others_are_applied(host: Host) -> None:
    answer = done(host, deployment("refused"), deployment("one"))
    assert answer.returncode == 1
    assert answer.stderr == "add-on refused: Error from server (Invalid): it is refused\n"
    assert finished(host, "one") and not finished(host, "refused")


def test_an_object_that_left_is_removed_with_the_uid_that_was_seen(host: Host) -> None:
    (host.folder / "there-old").write_text("uid-1 one kubewright:Apply,")
    answer = done(host, deployment("one"), recorded={"one": (OLD,)})
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "delete --raw /api/v1/namespaces/demo/configmaps/old -f one.options" in host.said("log")
    assert json.loads(host.said("addons/one.options"))["preconditions"] == {"uid": "uid-1"}
    assert finished(host, "one")


@pytest.mark.parametrize(
    "there",
    [
        "",
        "uid-1  kubectl-create:Update,",
        "uid-1 other kubewright:Apply,",
        "uid-1 one kubectl:Apply,",
        "uid-1 one kubewright:Update,",
    ],
)
def test_an_object_that_is_not_this_add_ons_is_left(host: Host, there: str) -> None:
    (host.folder / "there-old").write_text(there)
    answer = done(host, deployment("one"), recorded={"one": (OLD,)})
    assert answer.returncode == 0 and "delete" not in host.said("log")


def test_an_object_of_other_people_is_named_and_nothing_of_that_add_on_is_applied(host: Host) -> None:
    (host.folder / "found-one").write_text("Deployment   demo   one   <none>   <none>   helm\n")
    (host.folder / "found-role").write_text("ClusterRole   <none>   role   <none>   <none>   <none>\n")
    (host.folder / "kinds").write_text(f"{host.said('kinds')}clusterroles rbac.authorization.k8s.io/v1 false ClusterRole\n")
    role = body("ClusterRole", "role", "", "rbac.authorization.k8s.io/v1")
    answer = done(host, Rendered(name="one", objects=(role, *deployment("one").objects)), deployment("two"))
    assert answer.returncode == 1
    what = "is there already and not kubewright's; remove it, or take the add-on out of cluster.yaml"
    assert answer.stderr == f"add-on one: ClusterRole role {what}\nadd-on one: Deployment demo/one {what}\n"
    assert '"one"' not in host.said("applied") and finished(host, "two")
    assert "addon-one" not in host.said("applied"), "an index would make them kubewright's"


@pytest.mark.parametrize(
    ("row", "ours"),
    [
        ("one   <none>   kubewright", True),
        ("two   <none>   kubewright", True),
        ("<none>   workgroups   kubewright", True),
        ("one   <none>   other,kubewright", True),
        ("one   <none>   kubewright,other", True),
        ("<none>   <none>   kubewright", False),
        ("one   <none>   <none>", False),
        ("one   kubewright   other", False),
        ("one   <none>   kubewright-2", False),
        ("one   <none>   not-kubewright", False),
    ],
)
def test_an_object_is_kubewrights_with_a_label_of_its_and_its_field_manager(host: Host, row: str, ours: bool) -> None:
    """It lost its index, or moves here from another add-on or task."""
    (host.folder / "found-one").write_text(f"Deployment   demo   one   {row}\n")
    answer = done(host, deployment("one"))
    assert (answer.returncode == 0, finished(host, "one")) == (ours, ours)


@pytest.mark.parametrize("said", ["Error from server (Forbidden): no", ""], ids=["refused", "killed"])
def test_an_add_on_is_not_applied_when_nobody_knows_whose_its_objects_are(host: Host, said: str) -> None:
    (host.folder / "closed").write_text(said)
    answer = done(host, deployment("one"))
    assert (answer.returncode, answer.stderr) == (1, f"add-on one: nobody knows whose its objects are: {said}\n")
    assert not host.said("applied")


def test_a_kind_that_comes_with_the_add_on_hides_no_object_of_other_people(host: Host) -> None:
    (host.folder / "found-one").write_text("Deployment   demo   one   <none>   <none>   helm\n")
    answer = done(host, Rendered(name="one", objects=(*deployment("one").objects, body("Widget", version="example.org/v1"))))
    assert answer.stderr.startswith("add-on one: Deployment demo/one is there already") and not host.said("applied")


def listed(host: Host, name: str) -> None:
    """The index of an add-on that is there, and its object OLD."""
    (host.folder / f"there-addon-{name}").write_text(f"uid-0 {name} kubewright:Apply,")
    (host.folder / "there-old").write_text(f"uid-1 {name} kubewright:Apply,")


def test_an_add_on_that_left_is_removed_and_its_index_last(host: Host) -> None:
    listed(host, "one")
    answer = done(host, recorded={"one": (OLD,)})
    assert (answer.returncode, answer.stderr) == (0, "")
    deleted = [line.split()[3] for line in host.said("log").splitlines() if " delete " in line]
    assert [path.rsplit("/", 1)[1] for path in deleted] == ["old", "addon-one"]


@pytest.mark.parametrize(
    "denied",
    [
        'Error from server (Forbidden): admission webhook "x" denied the request: it is in use',
        'Error from server (Conflict): admission webhook "x" denied the request: it is in use',
        'Error from server (InternalError): failed calling webhook "x": service "x" not found',
    ],
)
def test_an_object_whose_removal_is_refused_stays_in_the_index_and_is_named(host: Host, denied: str) -> None:
    listed(host, "one")
    (host.folder / "denied").write_text(denied)
    answer = done(host, recorded={"one": (OLD,)})
    assert (answer.returncode, answer.stderr) == (1, f"add-on one: ConfigMap old is not removed: {denied}\n")
    assert "delete --raw /api/v1/namespaces/kube-system/configmaps/addon-one" not in host.said("log")


def test_an_object_that_went_meanwhile_is_no_failure(host: Host) -> None:
    listed(host, "one")
    gone = f"rm -f {host.folder}/there-old; echo 'Error from server (NotFound): not found' >&2; exit 1"
    text = KUBECTL.replace(
        'if [ -s "$STATE/denied" ]', f'case "$*" in *configmaps/old*) {gone} ;; esac; if [ -s "$STATE/denied" ]'
    )
    (host.folder / "kubectl").write_text(text)
    answer = done(host, recorded={"one": (OLD,)})
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "configmaps/addon-one" in host.said("log")


def test_an_object_of_a_kind_that_the_api_can_not_list_now_stays_in_the_index(host: Host) -> None:
    listed(host, "one")
    (host.folder / "down").write_text("unable to retrieve the complete list of server APIs: example.org/v1: it is down\n")
    widget = Item(version="example.org/v1", kind="Widget", namespace="demo", name="w")
    answer = done(host, recorded={"one": (widget, OLD)})
    assert answer.returncode == 1
    assert answer.stderr.startswith("add-on one: Widget w is not removed: unable to retrieve"), answer.stderr
    assert "configmaps/old" in host.said("log") and "configmaps/addon-one" not in host.said("log")


def test_an_api_that_lists_no_kinds_is_named_and_nothing_is_done(host: Host) -> None:
    (host.folder / "kinds").write_text("")
    (host.folder / "down").write_text("the server is down\n")
    answer = done(host, deployment("one"), recorded={"two": (OLD,)})
    assert answer.returncode == 1 and "the server is down" in answer.stderr
    assert not host.said("applied") and "delete" not in host.said("log")


@pytest.mark.parametrize(
    ("namespaced", "recorded", "expected"),
    [
        ("true", "", "/apis/example.org/v1/namespaces/default/widgets/old"),
        ("true", "demo", "/apis/example.org/v1/namespaces/demo/widgets/old"),
        ("false", "", "/apis/example.org/v1/widgets/old"),
        ("false", "demo", "/apis/example.org/v1/widgets/old"),
    ],
)
def test_a_custom_resource_is_removed_where_kubectl_has_put_it(host: Host, namespaced: str, recorded: str, expected: str) -> None:
    """The CRD is not in the folder, so `validate` does not know whether the kind has namespaces."""
    listed(host, "one")
    (host.folder / "kinds").write_text(f"configmaps cm v1 true ConfigMap\nwidgets example.org/v1 {namespaced} Widget\n")
    widget = Item(version="example.org/v1", kind="Widget", namespace=recorded, name="old")
    answer = done(host, recorded={"one": (widget,)})
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"delete --raw {expected} -f" in host.said("log")


def test_an_object_that_was_applied_just_now_under_another_namespace_is_not_removed(host: Host) -> None:
    (host.folder / "kinds").write_text("widgets example.org/v1 false Widget\n")
    (host.folder / "there-w").write_text("uid-9 one kubewright:Apply,")
    recorded = Item(version="example.org/v1", kind="Widget", namespace="demo", name="w")
    corrected = Rendered(name="one", objects=(body("Widget", "w", "", "example.org/v1"),))
    answer = done(host, corrected, recorded={"one": (recorded,)})
    assert (answer.returncode, answer.stderr) == (0, "") and "delete" not in host.said("log")
    assert finished(host, "one")


def test_an_object_whose_kind_is_gone_is_forgotten(host: Host) -> None:
    widget = Item(version="example.org/v1", kind="Widget", namespace="demo", name="w")
    answer = done(host, recorded={"one": (widget,)})
    assert (answer.returncode, answer.stderr) == (0, "") and "delete" not in host.said("log")


def test_without_a_list_of_what_is_applied_nothing_is_done(host: Host) -> None:
    found = task((deployment("one"),), seen())
    assert found is not None
    answer = host.run(b"unknown\n" + found.content, found.apply)
    assert answer.returncode == 1 and "run apply again" in answer.stderr and not host.said("log")
