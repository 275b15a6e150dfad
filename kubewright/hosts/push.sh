# Receives payloads, each checked against its sum before it is put in place. Runs as root, under the host's lock.
# `home` is the folder above all of them, `state` the one of our own records.
# After a broken connection standard error is closed: a message must not end this script before the received bytes are kept.
trap '' PIPE
trap 'exit 129' HUP TERM
done=

say() { printf '%s\n' "$*" >&2; }
bytes() { stat -c %s "$1" 2>/dev/null || echo 0; }

# sweep [! -path PARTIAL]...: removes the leftovers of killed pushes, except the partial files that this push will complete.
sweep() {
  find "$home" -type f \( -name '*.new' -o -name '*.part' "$@" \) -delete
  find "$home" -mindepth 1 -type d -empty -delete
}

# receive BYTES: that many of standard input. On a silent connection it gives up, and releases the host's lock.
receive() {
  left=$1
  while [ "$left" -gt 0 ]; do
    block=$((left < 8388608 ? left : 8388608))
    timeout 300 head -c "$block" || return
    left=$((left - block))
  done
}

# unpack PATH: unpacks standard input to a file beside PATH; prints the sum of the stream.
unpack() { zstd -dcq | tee "$1.new" | sha256sum; }

# settle PATH SHA256 SIZE MODE SELINUX_TYPE PARTIAL SUM WHAT: keep the unpacked file, if it is the wanted one.
settle() {
  if [ "${7%% *}" != "$2" ]; then
    rm -f "$1.new" "$6"
    say "$1: $8"
    return 1
  fi
  # tee continues after a failed write: the sum is of the received bytes, not of the bytes on the disk.
  if [ "$(bytes "$1.new")" != "$3" ]; then
    rm -f "$1.new"
    say "$1: could not be written whole"
    return 1
  fi
  rm -f "$6"
  chmod "$4" "$1.new" || return 1
  if [ -x /usr/sbin/selinuxenabled ] && selinuxenabled; then chcon -t "$5" "$1.new" || chcon -t bin_t "$1.new"; fi
  done="$done$2 $3 $1
"
}

# put PATH SHA256 SIZE MODE SELINUX_TYPE PARTIAL PACKED THERE: standard input has the PACKED compressed bytes but for the
# first THERE, which are in PARTIAL. They are appended to it and unpacked while they arrive.
put() {
  mkdir -p "$(dirname "$1")" && : >> "$6" || return 1
  if [ "$(bytes "$6")" != "$8" ]; then
    rm -f "$6"
    say "$1: what a broken push had left has changed since it was observed and is removed; run the same command again"
    return 1
  fi
  sum=$({ cat "$6"; receive $(($7 - $8)) | tee -a "$6"; } | unpack "$1")
  if [ "${sum%% *}" != "$2" ] && [ "$(bytes "$6")" -lt "$7" ]; then
    rm -f "$1.new"
    say "$1: $(bytes "$6") of $7 compressed bytes are there; the next run sends the rest"
    return 1
  fi
  settle "$1" "$2" "$3" "$4" "$5" "$6" "$sum" \
    "what arrived has another sum than was sent and is removed; run the same command again, it sends all of it"
}

# get PARTIAL URL: appends the missing bytes; prints the HTTP status.
get() {
  (
    proxy_on
    curl -q -fsSL --connect-timeout 15 --speed-limit 1024 --speed-time 60 --retry 2 -C - -o "$1" -w '%{http_code}' "$2"
  )
}

# fetch PATH SHA256 SIZE MODE SELINUX_TYPE PARTIAL URL PACKED: the PACKED compressed bytes come from there. Nothing is trusted but the sum.
fetch() {
  mkdir -p "$(dirname "$1")" || return 1
  todo="write the files there (kubewright artifacts fetch --to FOLDER), or take hosts_fetch_from out of cluster.yaml"
  if ! command -v curl >/dev/null; then
    say "$7: cannot be fetched without curl; install it on the host, or take hosts_fetch_from out of cluster.yaml"
    return 1
  fi
  code=$(get "$6" "$7")
  ended=$?
  case "$ended:$code" in
    # The server sends no parts of files, or its file is shorter than the partial one (which curl treats as complete).
    33:* | *:416) rm -f "$6"; code=$(get "$6" "$7"); ended=$? ;;
  esac
  case "$ended:$code" in
    0:*) ;;
    # The transfer had begun: a part of the file, too slow, a broken connection (EXIT CODES in curl(1)).
    18:2* | 28:2* | 56:2*)
      say "$7: broke off; $(bytes "$6") of $8 compressed bytes are there; the next run fetches the rest"
      return 1
      ;;
    *)
      say "$7: cannot be fetched (HTTP status $code); $todo"
      return 1
      ;;
  esac
  sum=$(unpack "$1" < "$6")
  settle "$1" "$2" "$3" "$4" "$5" "$6" "$sum" "what $7 holds has another sum than is wanted and is removed; $todo"
}

# At any end: keep complete payloads. Manifests are written after the bytes are on the disk: a power cut can't
# leave a sum beside an incomplete file.
finish() {
  [ -n "$done" ] || return 0
  sync -f "$home" || exit 1
  printf %s "$done" | while read -r sha size path; do
    # A running unit may have read the damaged file: remove the record of its start, so that it is restarted.
    if [ -e "$path" ]; then grep -lsF -- "$path " "$state"/started/* | while read -r record; do rm -f "$record"; done; fi
    mv -fT "$path.new" "$path" && echo "$sha $size $path" > "$(dirname "$path")/.manifest" || exit 1
  done || exit 1
}
trap finish EXIT
