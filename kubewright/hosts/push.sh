# Brings payloads to a host, each checked against its sum before it is put in place. Runs as root, under the host's lock.
# `home` is the folder that they all lie below, `state` that of our own records.
# A broken connection takes standard error with it: words to nobody must not end this before what arrived is kept.
trap '' PIPE
trap 'exit 129' HUP TERM
done=

say() { printf '%s\n' "$*" >&2; }
bytes() { stat -c %s "$1" 2>/dev/null || echo 0; }

# sweep [! -path PARTIAL]...: what pushes that died left, but for the partial files that are about to be completed.
sweep() {
  find "$home" -type f \( -name '*.new' -o -name '*.part' "$@" \) -delete
  find "$home" -mindepth 1 -type d -empty -delete
}

# receive BYTES: so many of standard input. A connection that stands still is given up, and with it the host's lock.
receive() {
  left=$1
  while [ "$left" -gt 0 ]; do
    block=$((left < 8388608 ? left : 8388608))
    timeout 300 head -c "$block" || return
    left=$((left - block))
  done
}

# unpack PATH: the compressed bytes on standard input, beside PATH; prints their sum, taken on the way.
unpack() { zstd -dcq | tee "$1.new" | sha256sum; }

# settle PATH SHA256 SIZE MODE SELINUX_TYPE PARTIAL SUM WHAT: keep what was unpacked, if it is what was wanted.
settle() {
  if [ "${7%% *}" != "$2" ]; then
    rm -f "$1.new" "$6"
    say "$1: $8"
    return 1
  fi
  # tee goes on after a failed write: the sum is that of what arrived, not of what the disk took.
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
# first THERE, which PARTIAL holds. They are appended to it and unpacked while they arrive.
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

# get PARTIAL URL: appends what is missing; prints the HTTP status.
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
    # The server sends no part of a file, or has a shorter one than the partial file is of (which curl takes for complete).
    33:* | *:416) rm -f "$6"; code=$(get "$6" "$7"); ended=$? ;;
  esac
  case "$ended:$code" in
    0:*) ;;
    # It had begun: a part of the file, too slow, the connection is gone (EXIT CODES in curl(1)).
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

# Whatever ends this: what arrived whole is kept. Manifests are written after the bytes are on the disk: a power cut can't
# leave a sum beside a torn file.
finish() {
  [ -n "$done" ] || return 0
  sync -f "$home" || exit 1
  printf %s "$done" | while read -r sha size path; do
    # What runs may have read the damaged file that was there: it has no record of its start any more, so it is restarted.
    if [ -e "$path" ]; then grep -lsF -- "$path " "$state"/started/* | while read -r record; do rm -f "$record"; done; fi
    mv -fT "$path.new" "$path" && echo "$sha $size $path" > "$(dirname "$path")/.manifest" || exit 1
  done || exit 1
}
trap finish EXIT
