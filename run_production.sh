# The stack of production on one machine, without containers: ./run.sh production reads
# this. PostgreSQL, two Redis, two instances of the web server, workers, Beat and Nginx
# run as processes of their own, from the same files as the containers do; what they
# keep is in MYCRM_DATA. They speak by sockets in a folder that only their user enters.

PRODUCTION_PACKAGES=(postgresql redis-server nginx-light)
INSTANCES=(1 2)

mkdir -p "$(setting MYCRM_DATA var)"
data=$(cd "$(setting MYCRM_DATA var)" && pwd)
# Some of the processes work in another folder.
logs=$data/logs
run=$data/run
postgres_data=$data/postgres
as_postgres=()

declare -A pids=() # of each process that is kept running, by its name
front=()           # names of those that serve, stopped before those that they need
base=()

# Debian keeps servers out of the path of users.
PATH=$PATH:/usr/sbin:$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)

# Setting up

install_packages() {
    local missing=() administrator=()
    command -v initdb >/dev/null || missing+=(postgresql)
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v nginx >/dev/null || missing+=(nginx-light)
    ((${#missing[@]})) || return 0
    [[ $(id -u) == 0 ]] || administrator=(sudo --non-interactive)
    if command -v apt-get >/dev/null && "${administrator[@]}" true 2>/dev/null; then
        administrator+=(env DEBIAN_FRONTEND=noninteractive)
        step packages "Installing ${missing[*]}" apt_get_install
        PATH=$PATH:$(compgen -G '/usr/lib/postgresql/*/bin' | sort -V | tail -n 1)
        return
    fi
    fail "Production needs ${missing[*]}. Install them:" \
        "apt-get install ${missing[*]}"
}

apt_get_install() {
    # The servers that Debian would start are not the ones that this script starts.
    "${administrator[@]}" apt-get update -qq &&
        "${administrator[@]}" RUNLEVEL=1 apt-get install -qq \
            --no-install-recommends "${missing[@]}"
}

memory_mb() {
    awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo
}

# PostgreSQL does not run as root: root runs it as Debian's user for it.
prepare_folders() {
    local folder
    # A socket's whole name must have less than 108 bytes.
    ((${#run} <= 80)) || run=$(mktemp -d /tmp/mycrm-XXXXXX)
    mkdir -p "$run" "$run/nginx" "$data/redis-broker" "$data/uploads" "$postgres_data"
    mkdir -p "$run/postgres"
    # PostgreSQL's user passes through.
    chmod 711 "$run"
    # They may be there already, from before others were kept out.
    chmod 700 "$logs" "$data/redis-broker" "$data/uploads" "$postgres_data" \
        "$run/postgres"
    if [[ $(id -u) == 0 ]]; then
        as_postgres=(setpriv --reuid=postgres --regid=postgres --clear-groups)
        chown postgres: "$postgres_data" "$run/postgres"
        for folder in "$postgres_data" "$run/postgres"; do
            "${as_postgres[@]}" test -w "$folder" ||
                fail "The user postgres, as which PostgreSQL runs, cannot enter" \
                    "$folder. Start as another user than root, or set MYCRM_DATA."
        done
    fi
}

# A quarter of the memory for PostgreSQL's own cache, but not more than 1 GB: here it
# shares the machine with everything else.
make_cluster() {
    local memory shared
    memory=$(memory_mb)
    shared=$((memory / 4 > 1024 ? 1024 : memory / 4))
    if [[ ! -e $postgres_data/PG_VERSION ]]; then
        step postgres-setup "Making the database" "${as_postgres[@]}" \
            env LC_ALL=C.UTF-8 initdb --pgdata "$postgres_data" --username postgres \
            --auth trust --encoding UTF8 --locale C.UTF-8 --data-checksums
    fi
    "${as_postgres[@]}" tee "$postgres_data/mycrm.conf" >/dev/null <<EOF
listen_addresses = ''
unix_socket_directories = '$run/postgres'
unix_socket_permissions = 0700
max_connections = 100
shared_buffers = ${shared}MB
effective_cache_size = $((memory / 2))MB
work_mem = 8MB
maintenance_work_mem = 128MB
wal_compression = on
max_wal_size = 2GB
checkpoint_completion_target = 0.9
random_page_cost = 1.1
synchronous_commit = on
jit = off
# What it had in its own cache before a restart, it reads again at once.
shared_preload_libraries = 'pg_prewarm'
log_min_duration_statement = 1000
# What a statement was given may be personal data.
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
EOF
    grep -q "^include 'mycrm.conf'" "$postgres_data/postgresql.conf" ||
        "${as_postgres[@]}" tee -a "$postgres_data/postgresql.conf" >/dev/null \
            <<<"include 'mycrm.conf'"
}

# The environment of MyCRM itself. What is set already wins.
production_settings() {
    # What is made from here on is for no other user of this machine.
    umask 077
    export MYCRM_DATA=$data
    export DJANGO_SETTINGS_MODULE=backend.settings_production
    if [[ ! -s $data/secret_key ]]; then
        openssl rand -base64 48 | tr -d '\n' >"$data/secret_key"
    fi
    SECRET_KEY=$(setting SECRET_KEY "$(cat "$data/secret_key")")
    # localhost is the name by which this script asks whether it serves.
    ALLOWED_HOSTS=$(setting ALLOWED_HOSTS '127.0.0.1,[::1]'),localhost
    # Encrypted if there is a certificate.
    TLS_CERTIFICATE=$(setting TLS_CERTIFICATE '')
    TLS_KEY=$(setting TLS_KEY '')
    TLS_PORT=$(setting TLS_PORT 8443)
    HTTPS=$(setting HTTPS "$([[ -n $TLS_CERTIFICATE ]] && echo true || echo false)")
    DATABASE_URL=postgres://mycrm@/$run/postgres/mycrm
    REDIS_URL=unix://$run/redis-cache.sock?db=0
    BROKER_URL=redis+socket://$run/redis-broker.sock
    export SECRET_KEY ALLOWED_HOSTS HTTPS DATABASE_URL REDIS_URL BROKER_URL
    export TLS_CERTIFICATE TLS_KEY
    # MyCRM speaks to this PostgreSQL itself.
    export USE_SQLITE=false PGBOUNCER=false
}

# Fills in what stands in capital letters in nginx/templates, as its container does.
render_nginx() {
    local template target server='' instance import_bytes
    # The file, and what a form says beside it.
    import_bytes=$(setting IMPORT_MAX_BYTES $((200 * 1024 * 1024)))
    # max_fails=0: an instance has several processes behind one socket. Where one of them
    # dies with what it was at, the socket goes on; and one that is closed costs nothing.
    for instance in "${INSTANCES[@]}"; do
        server+="server unix:$run/web-$instance.sock max_fails=0;"
    done
    for template in nginx/templates/*.template nginx/templates/sites/*.template; do
        target=$run/nginx/${template#nginx/templates/}
        mkdir -p "${target%/*}"
        env NGINX_RUN="$run/nginx" MIME_TYPES=/etc/nginx/mime.types \
            SITE="$([[ -n $TLS_CERTIFICATE ]] && echo https || echo http)" \
            ACCESS_LOG="$logs/access.log" UPSTREAM="$server" \
            STATUS_LISTEN="unix:$run/nginx-status.sock" \
            LISTEN="$HOST:$PORT" LISTEN_TLS="$HOST:$TLS_PORT" \
            HTTPS_PORT="$TLS_PORT" \
            STATIC_ROOT="$data/static" FORWARDED_PROTO="\$scheme" \
            IMPORT_SIZE="$((import_bytes + 1024 * 1024))" \
            SIGN_IN_RATE="$(setting SIGN_IN_RATE 10r/s)" \
            API_RATE="$(setting API_RATE 1000r/s)" \
            API_BURST="$(setting API_BURST 2000)" \
            ADDRESS_RATE="$(setting ADDRESS_RATE 2000r/s)" \
            ADDRESS_BURST="$(setting ADDRESS_BURST 4000)" \
            .venv/bin/python -c 'import os, re, sys
print(re.sub(r"\$\{([A-Z_]+)\}", lambda m: os.environ[m[1]], sys.stdin.read()), end="")
' <"$template" >"${target%.template}"
    done
    rm -f "$run/nginx-status.sock" # of an Nginx that was killed
    step nginx-test "Checking the configuration of Nginx" \
        nginx -t -e stderr -p "$run/nginx" -c "$run/nginx/nginx.conf"
}

# The processes. Each is started again if it ends.

postgres() {
    exec "${as_postgres[@]}" "$(command -v postgres)" -D "$postgres_data"
}

redis_cache() {
    exec redis-server --port 0 --unixsocket "$run/redis-cache.sock" \
        --unixsocketperm 700 --save '' --appendonly no \
        --maxmemory "$(setting CACHE_MEMORY 128mb)" --maxmemory-policy allkeys-lru
}

redis_broker() {
    exec redis-server --port 0 --unixsocket "$run/redis-broker.sock" \
        --unixsocketperm 700 --dir "$data/redis-broker" --save '' --appendonly yes \
        --appendfsync everysec --maxmemory 256mb --maxmemory-policy noeviction
}

web_instance() {
    # Together one process for each core: more only wait for each other.
    local each=$((($(nproc) + ${#INSTANCES[@]} - 1) / ${#INSTANCES[@]}))
    WEB_CONCURRENCY=$(setting WEB_CONCURRENCY "$each")
    export WEB_CONCURRENCY
    # And each has its core.
    export WEB_SHARE=$1/${#INSTANCES[@]}
    export BIND=unix:$run/web-$1.sock,127.0.0.1:$((PORT + $1))
    web
}

# Threads: one process for each queue, where the containers have three. Not at a lower
# priority: requests wait for the rows that a worker has locked and cannot go on with.
queue_worker() {
    cd backend
    exec ../.venv/bin/python -m celery --app backend worker --pool threads \
        --concurrency 2 --loglevel INFO --queues "$1" --hostname "$1@%h"
}

nginx_server() {
    local as_root=''
    [[ $(id -u) != 0 ]] || as_root='user root;'
    exec nginx -e stderr -p "$run/nginx" -c "$run/nginx/nginx.conf" \
        -g "daemon off; $as_root"
}

# Starts a process, or one that ended once more; $pids knows it by its name.
keep() {
    local name=$1
    case $name in
        web-*) start web_instance "${name#web-}" ;;
        worker-*) start queue_worker "${name#worker-}" ;;
        *) start "${name//-/_}" ;;
    esac >>"$logs/$name.log" 2>&1
    pids[$name]=${groups[-1]}
}

# Those that serve end before those that they need. Overrides what run.sh does.
stop() {
    trap '' INT TERM HUP
    local name
    groups=()
    for name in nginx-server "${front[@]}"; do
        [[ -z ${pids[$name]-} ]] || groups+=("${pids[$name]}")
    done
    stop_groups
    for name in "${base[@]}"; do
        [[ -z ${pids[$name]-} ]] || groups+=("${pids[$name]}")
    done
    stop_groups
}

# Waits until a command works, at most START_SECONDS.
await() {
    local name=$1 tenths
    shift
    for ((tenths = START_SECONDS * 10; tenths > 0; tenths--)); do
        "$@" >/dev/null 2>&1 && return
        kill -0 "${pids[$name]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$logs/$name.log" >&2
    fail "" "$name does not answer. The whole log: $logs/$name.log"
}

# MyCRM's own role has its database and may make it anew, as a restore does, and no more.
# In data folders from before there was one, mycrm is PostgreSQL's superuser and stays it.
make_database() {
    ask_postgres mycrm 'SELECT 1' >/dev/null 2>&1 ||
        ask_postgres postgres 'CREATE ROLE mycrm LOGIN CREATEDB' >/dev/null
    ask_postgres mycrm "SELECT 'found' FROM pg_database WHERE datname = 'mycrm'" |
        grep -q found || ask_postgres mycrm 'CREATE DATABASE mycrm' >/dev/null
}

# As a role, by the name of its user.
ask_postgres() {
    "${as_postgres[@]}" psql --host "$run/postgres" --username "$1" --dbname postgres \
        --no-psqlrc --tuples-only --command "$2"
}

prepare_database() {
    # Migrations may take longer than a statement may.
    step migrate "Preparing the database" \
        env STATEMENT_SECONDS=0 .venv/bin/python backend/manage.py migrate --no-input
    step static "Collecting the static files" \
        .venv/bin/python backend/manage.py collectstatic --no-input
}

# For new code, while the stack runs: ./run.sh upgrade.
upgrade() {
    production_settings
    [[ -S $run/postgres/.s.PGSQL.5432 ]] ||
        fail "No PostgreSQL runs in $run. Start ./run.sh production, which upgrades too," \
            "or set the MYCRM_DATA that it was started with."
    prepare_database
    say "" "Now kill -HUP the two Gunicorn processes that ./run.sh production named, and" \
        "kill the workers and Beat, which it starts again: docs/OPERATIONS.md."
}

serve_production() {
    local name queue instance site=$HOST
    [[ $HOST == 0.0.0.0 ]] && site=127.0.0.1

    install_packages
    production_settings
    if [[ -n $TLS_CERTIFICATE ]]; then
        site=https://$site:$TLS_PORT
    else
        site=http://$site:$PORT
    fi
    prepare_folders
    make_cluster

    say "Starting the servers ..."
    rm -f "$logs"/*.log
    base=(postgres redis-cache redis-broker)
    for name in "${base[@]}"; do
        keep "$name"
    done
    await postgres pg_isready --host "$run/postgres"
    await redis-cache redis-cli -s "$run/redis-cache.sock" ping
    await redis-broker redis-cli -s "$run/redis-broker.sock" ping
    make_database

    prepare_database
    start .venv/bin/python backend/manage.py bootstrap
    wait "${groups[-1]}"
    unset 'groups[-1]'

    say "Starting MyCRM ..."
    for instance in "${INSTANCES[@]}"; do
        front+=("web-$instance")
    done
    for queue in interactive bulk scheduled; do
        front+=("worker-$queue")
    done
    front+=(beat)
    for name in "${front[@]}"; do
        keep "$name"
    done
    for instance in "${INSTANCES[@]}"; do
        await "web-$instance" healthy \
            "http://127.0.0.1:$((PORT + instance))/api/health/ready/"
    done
    render_nginx
    keep nginx-server
    await nginx-server healthy "$site/api/health/ready/"

    say "" "MyCRM is ready." "" \
        "  API docs   $site/api/docs/" \
        "  Admin      $site/admin/" \
        "  Health     $site/api/health/" \
        "  Logs       $logs/" \
        "  Instances  http://127.0.0.1:$((PORT + 1)) (process ${pids[web-1]})" \
        "             http://127.0.0.1:$((PORT + 2)) (process ${pids[web-2]})" \
        "  Sockets    $run/" "" \
        "A web server takes new code or settings without a break: kill -HUP its process." \
        "Ctrl-C stops everything."
    stopped=0
    while true; do
        # `wait -n` would not see what ended while another was being started again.
        sleep 1 &
        wait $! || true
        for name in "${!pids[@]}"; do
            kill -0 "${pids[$name]}" 2>/dev/null && continue
            say "$name ended; starting it again. Its log: $logs/$name.log"
            # What is left of it would hold its sockets.
            kill -KILL -- "-${pids[$name]}" 2>/dev/null || true
            keep "$name"
        done
    done
}
