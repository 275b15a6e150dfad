"""The one command that observes a host."""

from __future__ import annotations

import shlex

from kubewright.observe import facts, live_script
from kubewright.observe.installers import TRACES
from kubewright.observe.observed import (
    AUTHORITIES,
    ETCD_MARK,
    ETCD_RESTORED,
    INSTALLED,
    LINK_FOLDERS,
    PAYLOADS,
    SECTION,
    SYSCTLS,
)
from kubewright.observe.places import Places
from pki import encryption


def script(
    units: tuple[str, ...],
    programs: tuple[str, ...],
    places: Places,
    probes: str = ":",
    network: str = "",
    *,
    deep: bool = False,
) -> str:
    """The one command: POSIX sh, run as root, changes nothing. It waits for what a dead run left going on the host.

    `probes` (see `peers.probes`) is shell for a host that has nothing of ours yet. `network` (see
    `backends.question`) is shell with sections of its own. `deep` also rehashes payloads.
    """
    entry = r"-printf '%p\t%y\t%m\t%u\t%g\t%s\t%l\n' 2>/dev/null"
    folders, paths, links = " ".join(places.folders), " ".join(places.alone), " ".join(LINK_FOLDERS)
    names = " ".join(shlex.quote(u) for u in units)
    payloads = "find /opt/kubewright -type f ! -name .manifest -exec sha256sum {} + 2>/dev/null" if deep else ""
    unit_files = " ".join(f"/etc/systemd/system/{u}" for u in units)
    return f"""
if [ -e /run/kubewright.lock ]; then exec 9</run/kubewright.lock; flock -s -w 600 9; fi
s() {{ echo '{SECTION}'"$1"; }}
s os; cat /etc/os-release
s facts
echo "architecture=$(uname -m)"; echo "kernel=$(uname -r)"; echo "hostname=$(uname -n)"
echo "machine_id=$(cat /etc/machine-id 2>/dev/null)"; echo "clock=$(date +%s.%N)"
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] && echo cgroup=2 || echo cgroup=1
echo "cgroup_controllers=$(cat /sys/fs/cgroup/cgroup.controllers 2>/dev/null || cut -d: -f2 /proc/self/cgroup | tr '\\n,' '  ')"
echo "selinux=$(getenforce 2>/dev/null || echo Disabled)"
systemctl is-active --quiet firewalld 2>/dev/null && echo firewalld=1 || echo firewalld=0
# Absent where the module is not loaded yet, read-only in all network namespaces but the initial one.
f=/proc/sys/net/netfilter/nf_conntrack_max
[ -e $f ] && [ -z "$(find $f -perm -200)" ] && echo init_net=0 || echo init_net=1
grep ^CapEff: /proc/1/status; grep ^MemTotal: /proc/meminfo
f=/run/systemd/resolve/resolv.conf; [ -f $f ] || f=/etc/resolv.conf; echo "resolv_conf=$f"
# `own`: a resolver on this host's loopback, which a pod would take for itself.
case $(sed -n 's/^nameserver[[:space:]]*//p' $f 2>/dev/null | sed 's/^127\\..*/own/; s/^::1.*/own/' | sort -u | tr '\\n' ' ') in
  *own*) echo nameserver=own ;;
  '') echo nameserver=0 ;;
  *) echo nameserver=1 ;;
esac
[ "$(wc -l < /proc/swaps)" -gt 1 ] && echo swap=1 || echo swap=0
s free; for d in / /opt /var/lib /etc /opt/kubewright /var/lib/containerd; do
  [ ! -d $d ] || echo "$d $(df -Pk $d | awk 'NR==2 {{print $4, ($1 ~ "^/") ? $1 : $6}}')"
done
s addresses; ip -o -4 addr show | while read -r number name family address rest; do
  mtu=0 mac=; read -r mtu < "/sys/class/net/$name/mtu"; read -r mac < "/sys/class/net/$name/address"
  echo "$address $name $mtu $mac"
done
s listening; ss -Hltunp
s packages
if command -v dpkg-query >/dev/null; then dpkg-query -W -f '${{db:Status-Abbrev}} ${{Package}}\\n' | grep ^ii
else rpm -qa --qf 'ii  %{{NAME}}\\n'; fi
s sysctls; for n in {" ".join(SYSCTLS)}; do v=; f=/proc/sys/$(echo $n | tr . /)
  [ ! -f $f ] || {{ read -r v < $f; echo "$n=$v"; }}
done
s users; cut -d: -f1 /etc/passwd
s programs; for p in {" ".join(programs)}; do command -v $p >/dev/null && echo $p; done
s entries; [ -z '{folders}' ] || find {folders} {entry}; find {paths} {unit_files} -maxdepth 0 {entry}
find {links} -maxdepth 1 -type l -lname '/opt/kubewright/*' {entry}
s sums; [ -z '{folders}' ] || find {folders} -type f -size -1025k ! -path '/opt/kubewright/*' -exec sha256sum {{}} + 2>/dev/null
find {paths} {unit_files} -maxdepth 0 -type f -exec sha256sum {{}} + 2>/dev/null
{payloads}
s installed; cat {INSTALLED} 2>/dev/null
s payloads; cat {PAYLOADS} 2>/dev/null
s etcd; set -- /var/lib/etcd/member/wal/*.wal; [ ! -e "$1" ] || echo data; [ ! -e {ETCD_MARK} ] || echo marked
[ ! -e {ETCD_RESTORED} ] || echo "restored $(cat {ETCD_RESTORED})"
s token; sed -n 's/.*--initial-cluster-token=\\([^ ]*\\).*/\\1/p; s/^ETCD_INITIAL_CLUSTER_TOKEN=//p' \
  /etc/systemd/system/etcd.service /etc/etcd/bootstrap.env 2>/dev/null
s leads; e=/etc/etcd/pki/healthcheck-client
m="-m 2 --cacert /etc/etcd/pki/ca.crt --cert $e.crt --key $e.key https://127.0.0.1:2379/metrics"
[ ! -f $e.key ] || curl -q -fsS $m 2>/dev/null | grep -x 'etcd_server_is_leader 1'
s authorities; cat {" ".join(AUTHORITIES)} 2>/dev/null
s encryption; sed -n 's/^ *- name: //p' {encryption.PATH} 2>/dev/null
s traces; [ -e {INSTALLED} ] || for p in {" ".join(TRACES)}; do [ ! -e "$p" ] || echo "$p"; done
s peers; [ -e {INSTALLED} ] || {probes}
{network}
{live_script.sections().strip()}
{facts.SCRIPT.strip()}
s manifest; cat /opt/kubewright/*/*/.manifest 2>/dev/null
s started; for f in /var/lib/kubewright/started/*; do [ -f "$f" ] && echo "= ${{f##*/}}" && cat "$f"; done
s units; systemctl show -p Id,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic,NeedDaemonReload {names}
s end
"""
