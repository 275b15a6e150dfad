# proxy_on, proxy_off: the proxy settings of the host's login environment (/etc/environment), which a command gets as host_*
# (`frame`). For what fetches from outside the cluster, and nothing else: package managers, hosts_fetch_from.
proxy_on() {
  for name in http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY; do
    eval "value=\${host_$name-}"
    [ -z "$value" ] || export "$name=$value"
  done
}
proxy_off() { unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY; }
