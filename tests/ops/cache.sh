# To be sourced: where tools that no work tree should hold are kept, each by its exact version.
# shellcheck shell=bash
cache=${THEATRE_OPS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/theatre-ops}
mkdir -p "$cache"

say() { printf '== %s\n' "$*" >&2; }

# What Debian calls it, and installs as root; elsewhere it is said what is missing.
need_packages() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: $*; on Debian or Ubuntu: sudo apt-get install $*" >&2
    return 2
  fi
  say "installing $*"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null
}
