# Sourced by the scripts beside this file: a minimal Debian of Debian's packages, and what it takes of this host.
#
# Of the settings of this host it has only what the network needs: name servers, proxies, certificates, and pip's own.
# What is made is removed at the end, however the script ends.

cannot() { # REASON: ends the script with 75 (EX_TEMPFAIL in sysexits.h), which make never does
  echo "${0##*/}: not tried: $1" >&2
  exit 75
}

root='' child=''
clean() { :; } # what a script has to remove besides
finish() {
  local code=$?
  trap - EXIT
  if [ -n "$child" ]; then
    kill -KILL "$child" 2>/dev/null || true # unshare ignores other signals
    wait "$child" 2>/dev/null || true
  fi
  clean
  [ -z "$root" ] || rm -rf --one-file-system "$root"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# With a PID namespace, every process of the command ends with it, and with a mount namespace, so does every mount. In
# the background, because bash handles no signal while it waits for a command in the foreground.
isolated() { # COMMAND...
  unshare --mount --pid --fork --kill-child --mount-proc "$@" &
  child=$!
  local code=0
  wait "$child" || code=$?
  child=''
  return "$code"
}

minimal_debian() { # TARGET PACKAGES SUITE: a root file system, TARGET.tar or a directory; essential packages and these
  if ! command -v mmdebstrap >/dev/null; then
    command -v apt-get >/dev/null || cannot "needs mmdebstrap, and there is no apt-get to install it"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends mmdebstrap; } \
      >/dev/null || cannot "needs mmdebstrap, and apt-get cannot install it"
  fi
  isolated mmdebstrap --quiet --variant=minbase --include="$2" "$3" "$1" ||
    cannot "mmdebstrap cannot make a root file system of Debian $3"
}

# What of this host is seen in there: variables (environment), and at the same path (shared) certificates, pip's
# settings, and what either of these name.
settings_of_host() {
  local settings named path
  settings=$(cat "${PIP_CONFIG_FILE:-/dev/null}" /etc/pip.conf ~/.pip/pip.conf ~/.config/pip/pip.conf 2>/dev/null || true)
  mapfile -t environment < <(env | grep -E '^(PIP_|SSL_CERT_|REQUESTS_CA_BUNDLE=)|_(proxy|PROXY)=')
  named=$(grep -oE '(^|[= ]|file://)/[^ ]+' <<<"$settings ${environment[*]}" |
    sed -E -e 's,^file://(/.+)/[^/]+/?$,\1,' -e 's,^[= ],,' || true) # a package index links to files beside it
  shared=()
  for path in /etc/ssl/certs /usr/local/share/ca-certificates "${PIP_CONFIG_FILE:-}" /etc/pip.conf ~/.pip ~/.config/pip \
    $named; do
    [ ! -e "$path" ] || shared+=("$path")
  done
}

[ "$(id -u)" = 0 ] || cannot "making a root file system needs root"
