#!/usr/bin/env bash
# Makes .venv hold Heliotrope, its locked dependencies and the extras named as arguments; what Debian or Ubuntu lacks
# for that it installs where it may, with `dev` what the tests start as well. The Makefile calls it before everything
# else; with nothing to do it returns at once.
#
#   deploy/bootstrap.sh [dev] [fuzz] [mqtt] [nvml] [postgres] [report] [solver] [sunspec] [train]
#
# PYTHON chooses the interpreter. pip's own settings, PIP_EXTRA_INDEX_URL among them, are honoured.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly STAMP=$VENV/.complete # two lines: what the installation depends on, hashed; the extras it has
readonly LOG=$VENV/setup.log
readonly INTEROP=tests/interop # a peer in another language, and its packages
export CC=${CC:-cc} # the compiler that built this Python need not exist here

say() { printf 'setup: %s\n' "$@"; }

fail() {
    say "$@" >&2
    exit 1
}

# Runs a command with its output in the log. A terminal shows the newest line of it; a failure, the last twenty.
logged() {
    "$@" </dev/null 2>&1 | tee -a "$LOG" | show_newest_line && return
    tail -n 20 "$LOG" >&2
    fail "this command failed: $*" "its whole output is in $LOG; mend the cause and run make again"
}

show_newest_line() {
    [[ -t 1 && ${TERM:-dumb} != dumb ]] || exec cat >/dev/null
    local line
    while IFS= read -r line; do printf '\r\033[K  %s' "${line:0:76}"; done
    printf '\r\033[K'
}

# The clone's own path is in the key: an editable installation points to it, so a moved clone is set up anew.
key() { { cat pyproject.toml deploy/constraints.txt "$INTEROP/package-lock.json" && pwd && "$VENV/bin/python" --version; } | sha256sum; }

is_wanted_python() { [[ -z ${PYTHON:-} || $("$PYTHON" --version 2>/dev/null) == $("$VENV/bin/python" --version) ]]; }

# Without a stamp an installation was interrupted, and pip cannot tell a half-written package from a whole one.
is_usable() { [[ -s $STAMP && -x $VENV/bin/python ]] && is_wanted_python; }

is_complete() { # extra...
    is_usable && [[ $(head -n 1 "$STAMP") == "$(key)" ]] || return 1
    local extra
    for extra in "$@"; do [[ " $(tail -n 1 "$STAMP") " == *" $extra "* ]] || return 1; done
    [[ " $* " != *" dev "* || -f $INTEROP/node_modules/.package-lock.json ]] # a cache may have kept .venv alone
}

minor_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; } # python

find_python() {
    local candidate candidates=(python3 python3.13 python3.12 python3.11)
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        case $(minor_version "$candidate") in
        3.11 | 3.12 | 3.13) command -v "$candidate" && return ;;
        esac
    done
    fail "Heliotrope needs Python 3.11, 3.12 or 3.13; tried without success: ${candidates[*]}" \
        "install one of them, or name it: make PYTHON=/path/to/python3.12 ..."
}

# libp2p depends on fastecdsa, which has no wheels: hence the compiler and the headers of GMP and Python.
missing_packages() { # python extra...
    local minor
    minor=$(minor_version "$1")
    "$1" -c 'import ensurepip, venv' 2>/dev/null || echo "python$minor-venv"
    [[ -f $("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h ]] || echo "python$minor-dev"
    printf '#include <stdio.h>\n#include <gmp.h>\nint main(void) { return 0; }\n' |
        "$CC" -x c - -lgmp -o /dev/null 2>/dev/null || printf '%s\n' gcc libc6-dev libgmp-dev
    [[ " ${*:2} " != *" dev "* ]] || missing_services
}

# What the tests start: a real database server, a real broker, and a second implementation in another language. As they
# look for it.
missing_services() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || echo postgresql
    command -v node >/dev/null || echo nodejs
    command -v npm >/dev/null || echo npm
    [[ -x /usr/sbin/mosquitto ]] || command -v mosquitto >/dev/null || echo mosquitto
}

install_packages() { # package...
    local as_root=() by_hand="su -c"
    ((EUID == 0)) || as_root=(sudo -n)
    if ! command -v apt-get >/dev/null; then
        fail "missing on this machine (the names are Debian's): $*"
    elif ! "${as_root[@]}" true 2>/dev/null; then
        command -v sudo >/dev/null && by_hand="sudo sh -c"
        say "packages are missing that this user may not install; run this command, then make again:" >&2
        echo "$by_hand 'apt-get update && apt-get install --yes $*'" >&2
        exit 1
    fi
    say "installing Debian packages: $*"
    local apt_get=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get --yes -o DPkg::Lock::Timeout=120)
    # A package source that cannot be reached must not stop an installation that does not need it.
    "${apt_get[@]}" update >>"$LOG" 2>&1 || say "some package lists could not be renewed; going on with those at hand"
    logged "${apt_get[@]}" install --no-install-recommends "$@"
}

suggest_cpu_torch() {
    command -v nvidia-smi >/dev/null && return
    "$VENV/bin/python" -m pip config list | grep -E 'index-url|find-links' >/dev/null && return
    say "no NVIDIA GPU found, but PyTorch's usual build carries gigabytes for one: to take the CPU build instead," \
        "stop here and set PIP_EXTRA_INDEX_URL to the CPU index that PyTorch's installation page names"
}

trap 'say "interrupted; run make again to begin anew" >&2; exit 130' INT

exec 9<pyproject.toml
flock --nonblock 9 || { say "waiting for another setup of this clone" && flock 9; }
is_complete "$@" && exit

extras=$*
if is_usable; then
    python=$VENV/bin/python
    read -ra installed < <(tail -n 1 "$STAMP")
    extras=$(printf '%s\n' "${installed[@]}" "$@" | sort -u | paste -sd ' ')
else
    python=$(find_python)
    rm -rf "$VENV"
fi
mkdir -p "$VENV"

read -ra named <<<"$extras"
mapfile -t missing < <(missing_packages "$python" "${named[@]}")
if ((${#missing[@]})); then
    install_packages "${missing[@]}"
    mapfile -t missing < <(missing_packages "$python" "${named[@]}")
    ((${#missing[@]} == 0)) || fail "still missing for $python after their installation: ${missing[*]}"
fi

if [[ ! -x $VENV/bin/python ]]; then
    say "creating $VENV with $("$python" --version), $python"
    logged "$python" -m venv "$VENV"
fi
[[ " $extras " != *" train "* || -d $(echo "$VENV"/lib/python*/site-packages/torch) ]] || suggest_cpu_torch
say "installing Heliotrope with its locked dependencies, ${extras:-no extras} (minutes the first time; log in $LOG)"
rm -f "$STAMP"
logged "$VENV/bin/python" -m pip --disable-pip-version-check --no-input install \
    --constraint deploy/constraints.txt --editable ".${extras:+[${extras// /,}]}"
if [[ " $extras " == *" dev "* ]]; then
    say "installing js-libp2p, the network's second implementation, for the tests"
    logged npm --prefix "$INTEROP" ci --prefer-offline --ignore-scripts --no-audit --no-fund
fi
printf '%s\n%s\n' "$(key)" "$extras" >"$STAMP"
say "done"
