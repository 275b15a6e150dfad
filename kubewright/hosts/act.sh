# Carries out one step on one host. Runs as root, under the host's lock, in its own staging folder.
set -eu
umask 077
here=$(pwd)
home=/opt/kubewright

say() { printf '%s\n' "$*" >&2; }

# place NEW PATH OWNER GROUP MODE: replace PATH atomically. Only root can read it before it has its mode.
place() {
  (umask 022; mkdir -p "$(dirname "$2")")
  # A leftover would keep its mode while the new content is written.
  rm -f "$2.kubewright"
  cat "$1" > "$2.kubewright"
  chown "$3:$4" "$2.kubewright"
  chmod "$5" "$2.kubewright"
  if [ -x /usr/sbin/selinuxenabled ] && selinuxenabled; then chcon --reference="$(dirname "$2")" "$2.kubewright"; fi
  # Otherwise a power cut after the rename can leave an empty file: XFS keeps the new name before the new content.
  sync "$2.kubewright"
  mv -fT "$2.kubewright" "$2"
  if [ -x /usr/sbin/selinuxenabled ] && selinuxenabled; then restorecon "$2"; fi
}

# link PATH TARGET
link() {
  (umask 022; mkdir -p "$(dirname "$1")")
  ln -sfn "$2" "$1.kubewright"
  mv -fT "$1.kubewright" "$1"
}

# patient COMMAND...: apt, repeated while another program (apt-daily, unattended-upgrades) has one of its locks.
# DPkg::Lock::Timeout is for dpkg's own lock, not for those of /var/lib/apt/lists and /var/cache/apt/archives.
patient() {
  deadline=$(($(date +%s) + 600))
  until "$@" 2>"$here/said"; do
    if ! grep -Eq 'Could not get lock|Unable to (lock|acquire)' "$here/said" || [ "$(date +%s)" -ge "$deadline" ]; then
      cat "$here/said" >&2
      return 1
    fi
    sleep 2
  done
}

# drop NAME VERSION: removes a versioned folder of binaries or images. A process that runs from it keeps running.
drop() {
  case "$1/$2" in
    /* | */ | .* | */.* | */*/* | *[!A-Za-z0-9._+/-]*)
      say "$home/$1/$2: not a versioned folder; nothing is removed"
      exit 70
      ;;
  esac
  if [ -L "$home/$1" ]; then return; fi
  rm -rf --one-file-system "$home/$1/$2"
  rmdir "$home/$1" 2>/dev/null || true
}

# failed UNIT: prints the unit's own error.
failed() {
  say "$1 is not ready; its last lines:"
  journalctl -q -u "$1" -n 15 --no-pager -o cat >&2 || true
  exit 70
}

# unstick UNIT: systemd waits for a running start before another, and without a limit some never end. It may
# also have started with files that were replaced meanwhile.
unstick() {
  if [ "$(systemctl is-active "$1" || true)" = activating ]; then systemctl stop "$1"; fi
}

# stay_ready UNIT SECONDS FILE: FILE keeps succeeding for that long. A single failure may be the API's own restart.
stay_ready() {
  deadline=$(($(date +%s) + $2)) bad=0
  while [ "$(date +%s)" -lt "$deadline" ] || [ "$bad" -gt 0 ]; do
    if sh -u "$3" >/dev/null 2>"$here/why"; then bad=0; else bad=$((bad + 1)); fi
    if [ "$bad" -ge 5 ]; then cat "$here/why" >&2; failed "$1"; fi
    sleep 1
  done
}

# wait_ready UNIT SECONDS FILE: polls FILE, shell that succeeds once the unit serves.
wait_ready() {
  deadline=$(($(date +%s) + $2))
  until sh -u "$3" >/dev/null 2>"$here/why"; do
    if [ "$(date +%s)" -ge "$deadline" ]; then cat "$here/why" >&2; failed "$1"; fi
    if systemctl is-failed -q "$1"; then failed "$1"; fi
    sleep 0.2
  done
}
