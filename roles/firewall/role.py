"""firewalld's openings: exactly the ports of a host's roles, each to those who may connect. Other firewalls are left alone.

Policy objects of our own (firewalld 0.9 and later) leave the host's zones as its owner wrote them.
"""

from __future__ import annotations

from functools import lru_cache

from kubewright.model.cluster import Plan
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, File
from kubewright.plan.role import Port, Role, on_every_host

# Put in place first, since firewalld reads the file itself; what was there comes back when firewalld rejects it. Its mode
# is another one until firewalld has it: a run that is killed before does this again.
_APPLY = """
[ ! -f "$path" ] || cp -p "$path" "$here/firewall.before"
install -D -m 0600 "$new" "$path"
if firewall-cmd -q --check-config && firewall-cmd -q --reload; then exit 0; fi
if [ -f "$here/firewall.before" ]; then cp -p "$here/firewall.before" "$path"; else rm -f "$path"; fi
firewall-cmd -q --reload
exit 1
"""


def _sources(plan: Plan, port: Port) -> tuple[str, ...]:
    """Addresses; a single empty one means anybody."""
    return plan.addresses.get(port.clients or "", ("",))


PATHS = {name: f"/etc/firewalld/policies/{name}.xml" for name in ("kubewright", "kubewright-pods")}


def _file(name: str, template: str, **values: object) -> File:
    path = PATHS[name]
    return File(path=path, content=render(template, **values), apply=_APPLY, title=f"open the firewall ({path})")


@lru_cache(maxsize=16)
def _openings(openings: tuple[tuple[int, str, tuple[str, ...]], ...]) -> File:
    """Hosts of one kind open the same ports to the same addresses: a rule for each node, so written once for all of them."""
    rules = [
        {"source": source, "number": number, "protocol": protocol} for number, protocol, sources in openings for source in sources
    ]
    return _file("kubewright", "firewall/host.xml.j2", rules=rules)


def role_for(roles: tuple[Role, ...]) -> Role:
    """The role that opens the ports of `roles`."""

    def ports(context: Context) -> tuple[Port, ...]:
        plan, node = context.plan, context.node
        return tuple(p for role in roles if role.runs_on(node) for p in role.ports(plan, node) if p.clients)

    def desired(context: Context) -> Desired:
        if not context.observed.firewalld:
            return Desired()
        late = [_openings(tuple((p.number, p.protocol, _sources(context.plan, p)) for p in ports(context)))]
        if context.node.runs_pods:
            late.append(_file("kubewright-pods", "firewall/pods.xml.j2", pods=context.plan.pods))
        return Desired(late=tuple(late))

    return Role(name="firewall", runs_on=on_every_host, after=("base",), paths=tuple(PATHS.values()), desired=desired)
