# Takes everything that kubewright and its components put on this host away again. What is not there is no error.
set -u
record=/var/lib/kubewright/installed
of() { sed -n "s/^$1 //p" "$record" 2>/dev/null; }

# Pods first, by their runtime: that lets CNI take their networks down.
systemctl stop kubelet.service 2>/dev/null
if systemctl is-active -q containerd.service; then timeout 120 crictl rmp -fa >/dev/null 2>&1; fi
# At once: an apiserver that waits for its watches, or for an etcd that is gone, would take minutes.
for unit in $(of unit); do systemctl stop --no-block "$unit"; systemctl kill -s KILL "$unit"; systemctl disable -q "$unit"; done 2>/dev/null
for unit in $(of unit); do systemctl stop "$unit"; systemctl reset-failed -q "$unit"; done 2>/dev/null
systemctl stop kubepods.slice 2>/dev/null
# What survived its daemon.
for pid in $(pgrep -f '^/usr/local/bin/containerd-shim-runc-v2 '); do kill -9 "$pid" 2>/dev/null; done

# Rules, by the component that wrote them, then what plugins and flannel left.
if [ -x /usr/local/bin/kube-proxy ]; then /usr/local/bin/kube-proxy --cleanup >/dev/null 2>&1; fi
for ipt in iptables ip6tables; do
  command -v $ipt-save >/dev/null || continue
  if $ipt-save 2>/dev/null | grep -qE 'KUBE-|CNI-|FLANNEL'; then
    $ipt-save 2>/dev/null | grep -vE 'KUBE-|CNI-|FLANNEL|flanneld' | $ipt-restore
  fi
done
if command -v nft >/dev/null; then
  for table in kube-proxy flannel-ipv4 flannel-ipv6 kube-apiserver-hold etcd-hold; do
    for family in ip ip6 inet; do nft delete table $family $table 2>/dev/null; done
  done
fi
for name in $(ip -o link show master cni0 2>/dev/null | awk -F'[ :@]+' '{ print $2 }') cni0 flannel.1 flannel-wg kube-ipvs0; do
  ip link delete "$name" 2>/dev/null
done

# The deepest mounts first.
awk '$2 ~ "^/(var/lib/kubelet|var/lib/containerd|run/containerd|run/netns)/" { print $2 }' /proc/self/mounts | sort -r |
  while read -r mount; do umount "$mount" 2>/dev/null || umount -l "$mount"; done

of file | while read -r path; do rm -f "$path"; done
of link | while read -r path; do rm -f "$path"; done
# A folder may be a mount of its own: then it stays, empty.
for folder in /etc/kubernetes /etc/etcd /etc/flannel /etc/containerd /var/lib/etcd /var/lib/kubelet /var/lib/containerd \
    /var/lib/cni /var/log/pods /var/log/containers /var/log/kubernetes /opt/kubewright /run/flannel /run/containerd; do
  [ -d "$folder" ] || continue
  find "$folder" -xdev -mindepth 1 -delete
  rmdir "$folder" 2>/dev/null
done
# Others may have theirs in these.
rmdir /etc/cni/net.d /etc/cni /opt/cni/bin /opt/cni /opt/containerd/bin /opt/containerd/lib /opt/containerd 2>/dev/null
find /run/netns -maxdepth 1 -name 'cni-*' -delete 2>/dev/null
rm -f /run/etcd-state.env
systemctl daemon-reload
if systemctl is-active -q firewalld.service; then firewall-cmd -q --reload; fi
# Last: a reset that is killed before this can be run again, it still knows what there was.
rm -rf /var/lib/kubewright
left=$(find / -xdev -lname '/opt/kubewright/*' 2>/dev/null)
[ -z "$left" ] || { echo "still there: $left" >&2; exit 1; }
