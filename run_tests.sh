#!/usr/bin/env bash
# Tests MyCRM as CI does: ./run_tests.sh
#
#   ./run_tests.sh setup         install what the tests need
#   ./run_tests.sh lint          format, lint, and Django's own checks
#   ./run_tests.sh unit          the tests on SQLite; what follows goes to the runner:
#                                ./run_tests.sh unit core.tests.test_journal
#   ./run_tests.sh servers       the tests on PostgreSQL and Redis
#   ./run_tests.sh coverage      the same, and the lines that they miss; not part of
#                                `all`, as it takes twice as long
#   ./run_tests.sh browser       sign-in and the pages in Chromium
#   ./run_tests.sh production    the stack of production, started and tried by Nginx
#   ./run_tests.sh performance   plans, times, memory and cache on PostgreSQL and Redis,
#                                compared with the baseline; not part of `all`
#   ./run_tests.sh load          people at work against the production stack:
#                                ./run_tests.sh load medium --no-think; `load locust`
#                                opens the page of Locust on port 8089
#   ./run_tests.sh benchmark     MyCRM beside stock DRF and PostgreSQL, in one table
#   ./run_tests.sh faults        what holds while parts of the production stack fail;
#                                what follows are names of faults; ROUNDS=20
#   ./run_tests.sh all           everything; the same as no word
#
# PostgreSQL and Redis are throw-away servers, unless DATABASE_URL and REDIS_URL name
# others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

CORE_COVERAGE=95
PACKAGES=(postgresql redis-server chromium prometheus nginx-light docker-compose)
LOAD_PACKAGES=(postgresql redis-server nginx-light wrk)

python=.venv/bin/python
tmp=$(mktemp -d)
redis=
servers=
trap '[[ -z $redis ]] || kill "$redis"; [[ -z $servers ]] || kill -- "-$servers"
    rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$@"; }
heading() { printf '\n== %s\n' "$*"; }
fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

# Setting up

# Those of these Debian packages that are needed and not here yet.
missing() {
    local package
    for package; do
        case $package in
            postgresql)
                [[ -n ${DATABASE_URL-} ]] || { command -v pg_virtualenv &&
                    compgen -G '/usr/lib/postgresql/*/bin/pg_ctl'; }
                ;;
            redis-server)
                [[ -n ${REDIS_URL-} ]] || command -v redis-server
                ;;
            wrk)
                command -v wrk
                ;;
            prometheus)
                command -v promtool
                ;;
            nginx-light)
                command -v nginx || command -v /usr/sbin/nginx
                ;;
            docker-compose)
                command -v docker-compose
                ;;
            chromium)
                command -v chromium || command -v chromium-browser ||
                    command -v google-chrome
                ;;
        esac >/dev/null || say "$package"
    done
}

# The Python packages: MyCRM's own, and what only its tests need.
python_packages() {
    local checksum
    ./run.sh setup
    checksum=$(cksum <requirements-dev.txt)
    if [[ $(cat .venv/requirements-dev.cksum 2>/dev/null) != "$checksum" ]]; then
        say "Installing what the tests need ..."
        $python -m pip install --quiet --disable-pip-version-check \
            --requirement requirements-dev.txt
        printf '%s\n' "$checksum" >.venv/requirements-dev.cksum
    fi
}

set_up() {
    local packages administrator=()
    python_packages
    mapfile -t packages < <(missing "$@")
    [[ ${#packages[@]} -gt 0 ]] || return 0
    [[ $(id -u) == 0 ]] || administrator=(sudo --non-interactive)
    if command -v apt-get >/dev/null && "${administrator[@]}" true 2>/dev/null; then
        say "Installing ${packages[*]} ..."
        administrator+=(env DEBIAN_FRONTEND=noninteractive)
        if "${administrator[@]}" apt-get update -qq >"$tmp/apt.log" 2>&1 &&
            "${administrator[@]}" apt-get install -qq --no-install-recommends \
                "${packages[@]}" >>"$tmp/apt.log" 2>&1; then
            return
        fi
        tail -n 20 "$tmp/apt.log" >&2
    fi
    fail "The tests need servers and Chromium. Install ${packages[*]}" \
        "(Debian: apt-get install ${packages[*]})," \
        "or name servers to use in DATABASE_URL and REDIS_URL."
}

# Linting

lint() {
    heading "Format and lint"
    $python -m ruff format --check .
    $python -m ruff check .

    heading "Django's checks, migrations and the OpenAPI schema"
    export DJANGO_SETTINGS_MODULE=backend.settings_test
    on_sqlite $python backend/manage.py check --fail-level WARNING
    on_sqlite $python backend/manage.py makemigrations --check --dry-run
    on_sqlite $python backend/manage.py spectacular --validate --fail-on-warn \
        --file "$tmp/schema.yml"

    heading "Alerts"
    promtool check rules monitoring/rules/*.yml
    promtool check config --syntax-only monitoring/prometheus.yml
    promtool test rules monitoring/tests.yml

    DJANGO_SETTINGS_MODULE=backend.settings_production MYCRM_DATA=$tmp \
        SECRET_KEY=$(openssl rand -hex 32) ALLOWED_HOSTS=crm.example.com \
        DATABASE_URL=postgres://mycrm@db/mycrm REDIS_URL=redis://cache/0 \
        BROKER_URL=redis://broker/0 \
        $python backend/manage.py check --deploy --fail-level WARNING

    heading "Containers"
    docker-compose config --quiet
    ALLOWED_HOSTS=crm.example.com docker-compose --file docker-compose.production.yml \
        --profile monitoring config --quiet
}

# Testing: warnings are errors. One process, for of several Django cannot show every
# failure: what failed does not always go from one to another.

on_sqlite() {
    USE_SQLITE=true REDIS_URL='' "$@"
}

unit() {
    heading "Tests on SQLite"
    django_tests --exclude-tag browser "$@"
}

browser() {
    heading "Tests in a browser"
    django_tests --tag browser "$@"
}

# Both of these, in one database, as making one takes long, but for what the other half
# of `all` runs.
unit_and_browser() {
    heading "Tests on SQLite and in a browser"
    django_tests --exclude-tag once-on-servers
}

# Nginx, two instances of the web server, workers, PostgreSQL and Redis, as
# processes of this machine.
production() {
    heading "The stack of production"
    # PostgreSQL does not run as root, and its user must get at its files.
    chmod 711 "$tmp"
    $python backend/production_test.py "$tmp/production"
}

django_tests() {
    (cd backend && on_sqlite ../$python -W error manage.py test --no-input "$@")
}

servers() {
    heading "Tests on PostgreSQL and Redis"
    on_servers tests-on-servers
}

# Watched line by line, tests take nearly twice as long.
coverage() {
    heading "Tests on PostgreSQL and Redis, with coverage"
    export COVERAGE_FILE="$tmp/coverage"
    on_servers tests-on-servers -m coverage run

    $python -m coverage combine --quiet
    $python -m coverage report
    say "" "Of the lines of backend/core the tests run, in %:"
    $python -m coverage report --include='backend/core/*' --format=total \
        --precision=1 --fail-under=$CORE_COVERAGE
}

# Runs a word of this script with the addresses of servers in its environment.
on_servers() {
    local redis_port postgresql=()
    if [[ -z ${REDIS_URL-} ]]; then
        redis_port=$($python -c 'import socket
print(socket.create_server(("127.0.0.1", 0)).getsockname()[1])')
        redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --appendonly no \
            --dir "$tmp" >"$tmp/redis.log" &
        redis=$!
        timeout 10 bash -c "until redis-cli -p $redis_port ping; do sleep 0.1; done" \
            >/dev/null 2>&1 || fail "Redis did not start:" "$(cat "$tmp/redis.log")"
        export REDIS_URL="redis://127.0.0.1:$redis_port/0"
    fi
    # Without -t it would use the machine's own folders, if it is root.
    [[ -n ${DATABASE_URL-} ]] || postgresql=(env LC_ALL=C.UTF-8 pg_virtualenv -t)

    # The result goes by a file: after a failure pg_virtualenv would print its log.
    "${postgresql[@]}" ./run_tests.sh "$1" "$tmp/result" "${@:2}"
    [[ $(cat "$tmp/result") == 0 ]]
}

servers_here() {
    export USE_SQLITE=false
    : "${DATABASE_URL:=postgres://${PGUSER-}:${PGPASSWORD-}@127.0.0.1:${PGPORT-}/postgres}"
    export DATABASE_URL
}

tests_on_servers() {
    local result=0
    servers_here
    # What is the same on either database runs on SQLite alone.
    $python -W error "${@:2}" backend/manage.py test --no-input \
        --exclude-tag browser --exclude-tag once backend || result=$?
    echo "$result" >"$1"
}

# Measuring

performance_on_servers() {
    local result=0
    servers_here
    # As production has it: the index is as near as the table.
    export PGOPTIONS="-c random_page_cost=1.1"
    MYCRM_DATA=$tmp $python backend/core/performance_tests.py "${@:2}" || result=$?
    echo "$result" >"$1"
}

# The production stack of the benchmark, filled, with people at work.
load() {
    (cd backend && exec "../$python" -m benchmark.load "$@")
}

benchmark() {
    (cd backend && exec "../$python" -m benchmark.run "$@")
}

# Everything

everything() {
    SECONDS=0
    # The rest goes on beside the longest; what it says comes when both are done. Its
    # group is its own, so that nothing of it is left when somebody stops this.
    set -m
    some servers lint production </dev/null >"$tmp/servers.log" 2>&1 &
    servers=$!
    set +m
    local failed=0
    some unit-and-browser || failed=1
    wait "$servers" || failed=1
    servers=
    cat "$tmp/servers.log"
    heading "After $SECONDS seconds"
    ((failed == 0)) || fail "Something failed: what it was is said above."
    say "Everything passed: lint, the tests on SQLite, in a browser, on PostgreSQL and" \
        "Redis, and the stack of production."
}

# Some words of this script, one after the other, whatever becomes of those before.
some() {
    local part failed=()
    for part; do
        ./run_tests.sh "$part" || failed+=("$part")
    done
    ((${#failed[@]} == 0)) && return
    say "" "FAILED: ${failed[*]}. One alone: ./run_tests.sh ${failed[0]}"
    return 1
}

word=${1-all}
(($# == 0)) || shift
case $word in
    setup)
        set_up "${PACKAGES[@]}"
        ;;
    lint)
        set_up prometheus docker-compose
        lint
        ;;
    unit)
        python_packages
        unit "$@"
        ;;
    browser)
        set_up chromium
        browser "$@"
        ;;
    unit-and-browser)
        unit_and_browser
        ;;
    servers | coverage)
        set_up postgresql redis-server
        "$word"
        ;;
    production)
        set_up postgresql redis-server nginx-light
        production
        ;;
    performance)
        set_up postgresql redis-server
        on_servers performance-on-servers "$@"
        ;;
    load | benchmark)
        set_up "${LOAD_PACKAGES[@]}"
        "$word" "$@"
        ;;
    faults)
        set_up postgresql redis-server nginx-light
        (cd backend && exec "../$python" -m faults.run "$@")
        ;;
    all)
        set_up "${PACKAGES[@]}"
        everything
        ;;
    tests-on-servers)
        tests_on_servers "$@"
        ;;
    performance-on-servers)
        performance_on_servers "$@"
        ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' run_tests.sh >&2
        exit 2
        ;;
esac
