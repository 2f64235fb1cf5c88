#!/usr/bin/env bash
# Sets MyCRM up and serves it, on a fresh machine too: ./run.sh
# ./run.sh setup only installs the packages; ./run.sh production serves with PostgreSQL,
# Redis and Nginx, as for a company, and ./run.sh upgrade prepares what runs so for new
# code (docs/OPERATIONS.md). Settings: .env.example.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

STOP_SECONDS=15
START_SECONDS=60

say() { printf '%s\n' "$@"; }
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# A setting: from the environment, else from .env, else the default.
setting() {
    local value="${!1-}"
    if [[ -z $value && -f .env ]]; then
        value=$(sed -n "s/^$1=//p" .env | tail -n 1 | tr -d "\"'")
    fi
    printf '%s' "${value:-$2}"
}

# gunicorn.conf.py reads these two.
HOST=$(setting HOST 127.0.0.1)
PORT=$(setting PORT 8000)
export HOST PORT

logs="$(setting MYCRM_DATA var)/logs"
mkdir -p "$logs" || fail "Set MYCRM_DATA to a folder that you may write to."

# Where all processes count for /metrics, in memory if there is a place for it.
metrics=$(mktemp -d /dev/shm/mycrm-XXXXXX 2>/dev/null || mktemp -d)
export PROMETHEUS_MULTIPROC_DIR=$metrics

# Processes: each leads a group of its own, so that Ctrl-C reaches this script alone,
# and whatever is left of a group can be ended with it.

groups=()
stopped=130 # the exit status if somebody stops it; 0 once it serves

start() {
    set -m
    "$@" </dev/null &
    set +m
    groups+=($!)
}

stop() {
    trap '' INT TERM HUP
    stop_groups
}

stop_groups() {
    local group tenths
    for group in "${groups[@]}"; do
        # If the leader is dead, what is left is told directly.
        kill -TERM "$group" 2>/dev/null || kill -TERM -- "-$group" 2>/dev/null || true
    done
    for group in "${groups[@]}"; do
        for ((tenths = STOP_SECONDS * 10; tenths > 0; tenths--)); do
            kill -0 -- "-$group" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$group" 2>/dev/null || true
    done
    groups=()
}

trap 'stop; rm -rf "$metrics"' EXIT
trap 'say "" "Stopping, which takes some seconds ..."; stop; say "Stopped."; exit $stopped' INT TERM HUP

# One step of the set-up; what it prints goes to a log, shown if it fails.
step() {
    local log="$logs/$1.log"
    say "$2 ..."
    shift 2
    start "$@" >"$log" 2>&1
    if ! wait "${groups[-1]}"; then
        tail -n 20 "$log" >&2
        fail "" "That failed. The whole log: $log"
    fi
    unset 'groups[-1]'
}

# Python and the packages

recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Names are tried by running them: not every name that is found works.
find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if recent "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "MyCRM needs Python 3.11 or later, and there is none here." \
        "Install it (Debian, Ubuntu: apt-get install python3 python3-venv)," \
        "or say where it is: PYTHON=/usr/local/bin/python3 ./run.sh"
}

set_up() {
    local python=.venv/bin/python checksum
    local pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
    if ! recent $python || ! $python -c 'import pip' 2>/dev/null; then
        python=$(find_python)
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "Python at $python cannot make virtual environments." \
                "Debian and Ubuntu keep that apart: apt-get install python3-venv"
        step install "Making a virtual environment in .venv" \
            "$python" -m venv --clear .venv
    fi
    checksum=$(cksum <requirements.txt)
    if [[ $(cat .venv/requirements.cksum 2>/dev/null) != "$checksum" ]]; then
        # Gunicorn's parser in C needs a compiler; Gunicorn does without it too.
        grep -v '^gunicorn.h1c' requirements.txt >.venv/requirements.txt
        step install "Installing the packages, which takes a minute or two" \
            "${pip[@]}" --requirement .venv/requirements.txt
        start "${pip[@]}" --constraint requirements.txt gunicorn_h1c \
            >"$logs/install-parser.log" 2>&1
        wait "${groups[-1]}" || say "Without a C compiler, requests are parsed slower."
        unset 'groups[-1]'
        printf '%s\n' "$checksum" >.venv/requirements.cksum
    fi
}

# Serving

check_port() {
    local python=.venv/bin/python
    recent $python || python=$(find_python)
    "$python" - <<'END' || fail "Set PORT to a free one: PORT=8001 ./run.sh"
import os, socket, sys

host, port = os.environ["HOST"], os.environ["PORT"]
try:
    socket.create_server((host, int(port))).close()
except OSError as error:
    reason = os.strerror(error.errno) if error.errno else error
    sys.exit(f"MyCRM cannot listen on {host}, port {port}: {reason}.")
except (OverflowError, ValueError):
    sys.exit(f"PORT must be a number from 1 to 65535, not {port}.")
END
}

web() {
    cd backend
    exec ../.venv/bin/python -m gunicorn backend.wsgi:application
}

# Threads: without Redis the processes of a pool share locks, and one that is killed
# leaves the others locked.
worker() {
    cd backend
    exec ../.venv/bin/python -m celery --app backend worker --pool threads \
        --concurrency 2 --loglevel INFO
}

beat() {
    cd backend
    exec ../.venv/bin/python -m celery --app backend beat --loglevel WARNING
}

healthy() {
    .venv/bin/python - "$1" 2>/dev/null <<'END'
import ssl, sys, urllib.request

# No proxy, and no look at the certificate: the address is this machine.
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPSHandler(context=ssl._create_unverified_context()),
)
# Whatever the site is called, it answers to this name.
opener.open(
    urllib.request.Request(sys.argv[1], headers={"Host": "localhost"}), timeout=5
)
END
}

check_alive() {
    kill -0 "$1" 2>/dev/null && return
    tail -n 20 "$logs/web.log" >&2
    fail "" "The web server ended, so MyCRM stops. The whole log: $logs/web.log"
}

# Starts a process in the background; $started is its pid.
launch() {
    start "$1" >>"$logs/$1.log" 2>&1
    started=${groups[-1]}
}

serve() {
    local site="http://$HOST:$PORT" web worker beat seconds started
    [[ $HOST == 0.0.0.0 ]] && site="http://127.0.0.1:$PORT"

    say "Starting the web server and the worker ..."
    rm -f "$logs"/{web,worker,beat}.log
    launch web && web=$started
    launch worker && worker=$started
    launch beat && beat=$started

    for ((seconds = START_SECONDS; seconds > 0; seconds--)); do
        healthy "$site/api/health/" && break
        check_alive "$web"
        sleep 1
    done
    if ((seconds == 0)); then
        tail -n 20 "$logs/web.log" >&2
        fail "" "MyCRM does not answer at $site/api/health/." \
            "The whole log: $logs/web.log"
    fi

    say "" "MyCRM is ready." "" \
        "  API docs  $site/api/docs/" \
        "  Admin     $site/admin/" \
        "  Health    $site/api/health/" \
        "  Logs      $logs/" "" \
        "Sign in with the e-mail address and password that the first start showed." \
        "Forgotten? .venv/bin/python backend/manage.py changepassword EMAIL" "" \
        "Ctrl-C stops it."
    stopped=0
    while true; do
        wait -n "$web" "$worker" "$beat" || true
        check_alive "$web"
        # What waits in the database goes on where the last chunk ended.
        if ! kill -0 "$worker" 2>/dev/null; then
            say "The worker ended; starting another. Its log: $logs/worker.log"
            sleep 1
            launch worker && worker=$started
        fi
        if ! kill -0 "$beat" 2>/dev/null; then
            say "The scheduler ended; starting another. Its log: $logs/beat.log"
            sleep 1
            launch beat && beat=$started
        fi
    done
}

case "${1-}" in
    setup)
        set_up
        ;;
    "")
        check_port
        set_up
        # What is kept from here on is for no other user of this machine.
        umask 077
        step migrate "Preparing the database" \
            .venv/bin/python backend/manage.py migrate --no-input
        start .venv/bin/python backend/manage.py bootstrap
        wait "${groups[-1]}"
        serve
        ;;
    production)
        # shellcheck source=run_production.sh
        . ./run_production.sh
        check_port
        set_up
        serve_production
        ;;
    upgrade)
        . ./run_production.sh
        set_up
        upgrade
        ;;
    *)
        fail "Usage: ./run.sh [setup | production | upgrade]"
        ;;
esac
