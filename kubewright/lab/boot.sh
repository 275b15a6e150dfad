# Process 1 of a lab host, until it becomes the host's own init. Runs in new mount, pid, ipc, uts and cgroup namespaces
# and in the host's network namespace. Arguments: HOSTNAME LAYERS FOLDER. The layers go from the top down, with colons.
set -eu
hostname=$1 layers=$2 folder=$3 root=$3/root

hostname "$hostname"
# Private until pivot_root, which refuses a shared mount. All mounts are this namespace's: they go with the host.
mount --make-rprivate /
mount -t overlay -o "lowerdir=$layers,upperdir=$folder/upper,workdir=$folder/work" overlay "$root"
# Container layers and volumes do not lie on an overlay.
for d in containerd kubelet; do
  mkdir -p "$root/var/lib/$d"
  mount --bind "$folder/$d" "$root/var/lib/$d"
done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o nosuid,nodev,mode=755,size=20% tmpfs "$root/run"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$root/tmp"

mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mqueue" "$root/dev/net"
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$root/dev/shm"
mount -t mqueue mqueue "$root/dev/mqueue"
umask 0
mknod "$root/dev/null" c 1 3; mknod "$root/dev/zero" c 1 5; mknod "$root/dev/full" c 1 7
mknod "$root/dev/random" c 1 8; mknod "$root/dev/urandom" c 1 9; mknod "$root/dev/tty" c 5 0
mknod -m 600 "$root/dev/kmsg" c 1 11; mknod -m 600 "$root/dev/net/tun" c 10 200
umask 022
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"; ln -s /proc/self/fd/1 "$root/dev/stdout"; ln -s /proc/self/fd/2 "$root/dev/stderr"
: > "$root/dev/console"
mount --bind "$folder/console.log" "$root/dev/console"

# The host's cgroups, as roots of their hierarchies: the cgroup namespace hides the machine's.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"
  # `lab` moves the process that waits for this one elsewhere (it shows as 0 here): systemd needs the root to itself.
  while grep -qx 0 "$root/sys/fs/cgroup/cgroup.procs"; do sleep 0.01; done
else
  mount -t tmpfs -o nosuid,nodev,noexec,mode=755 tmpfs "$root/sys/fs/cgroup"
  for d in /sys/fs/cgroup/*; do
    [ -f "$d/cgroup.procs" ] || continue
    name=${d##*/}
    if [ -L "$d" ]; then ln -s "$(readlink "$d")" "$root/sys/fs/cgroup/$name"; continue; fi
    mkdir "$root/sys/fs/cgroup/$name"
    case $name in
      unified) mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup/$name" ;;
      systemd) mount -t cgroup -o nosuid,nodev,noexec,none,name=systemd cgroup "$root/sys/fs/cgroup/$name" ;;
      *) mount -t cgroup -o "nosuid,nodev,noexec,$name" cgroup "$root/sys/fs/cgroup/$name" ;;
    esac
  done
fi

# These are the whole machine's: a host must not change them. (/proc/sys/net is its own.)
for d in kernel vm fs; do
  mount --bind "$root/proc/sys/$d" "$root/proc/sys/$d"
  mount -o remount,bind,ro "$root/proc/sys/$d"
done
[ ! -e "$root/proc/sysrq-trigger" ] || mount --bind /dev/null "$root/proc/sysrq-trigger"

cd "$root"
mkdir -p .machine
pivot_root . .machine
umount -l /.machine
rmdir /.machine
# kubelet and CNI plugins need mounts that propagate.
mount --make-rshared /
exec env -i container=kubewright-lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /sbin/init </dev/null >/dev/console 2>&1
