# shellcheck shell=bash
#
# clients.sh: the stage "clients" of test/run: client libraries as their
# registries have them, against one server.  test/clients/README.md says what a
# client's folder holds.  Sourced by test/run; needs stages.sh.

# The command that each folder needs, and the packages that bring it.
client_tools='
javascript	npm	nodejs npm
go		go	golang
java		mvn	default-jdk maven
rust		cargo	cargo rustc
c		gcc	gcc libpq-dev
python		python3	python3 python3-venv
'

# Is NAME, a folder of test/clients, to be run?
client_chosen() {
	[ ${#names[@]} -eq 0 ] || [[ " ${names[*]} " == *" $1 "* ]]
}

# Install the languages that are missing, where nobody's machine is filled by
# it: in CI, outside of chroots.  A folder whose tool is missing skips itself.
prepare_clients() {
	local language tool packages
	[ -n "${CI:-}" ] && [ -z "$inside" ] && have_apt || return 0
	while read -r language tool packages; do
		[ -n "$language" ] || continue
		# shellcheck disable=SC2086	# a list
		command -v "$tool" >/dev/null || (apt_install $packages) || true
	done <<<"$client_tools"
	(apt_install libpq-dev) || true
}

free_port() {
	perl -MIO::Socket::INET -e \
		'print IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)->sockport'
}

clients_sql() {
	as_server "$("$pg_config" --bindir)/psql" -h "$work" -p "$client_port" -U postgres \
		-d postgres -X -q -v ON_ERROR_STOP=1 -c "$1" >/dev/null
}

# A server with a socket and, for drivers that know no sockets, TCP on this
# machine.  Clients connect as a role that may create databases and roles;
# without a password, which the suites of some libraries cannot give.
start_clients_server() {
	client_port=$(free_port)
	printf '%s\n' 'local all all trust' 'host all client 127.0.0.1/32 trust' |
		as_server tee "$work/clients.hba" >/dev/null
	start_server "listen_addresses = '127.0.0.1'" "port = $client_port" \
		"hba_file = '$work/clients.hba'"
	clients_sql "CREATE ROLE client LOGIN CREATEDB CREATEROLE"
}

# run_client NAME [RUN SECONDS]: one folder (its "run", and the seconds it may take, if it is not
# one of test/clients), in a copy of its own, as the user who runs the tests: the caches and the
# settings of npm, go and the others are that user's.
run_client() {
	local name=$1 dir=$work/clients/$1 log=$work/clients/$1.log database status=0 start=$SECONDS
	database=client_${name//-/_}
	mkdir -p "$dir/work"
	clients_sql "CREATE DATABASE $database OWNER client"
	PGHOST=$work PGPORT=$client_port PGUSER=client PGDATABASE=$database \
		PGTCPHOST=127.0.0.1 PGTCPPORT=$client_port \
		JDBC_URL="jdbc:postgresql://127.0.0.1:$client_port/$database?user=client" \
		PG_CONFIG=$pg_config WORK=$dir/work \
		CLIENTS=$work/clients/src DOCS=$root/docs timeout "${3:-900}" "${2:-$work/clients/src/$name/run}" </dev/null >"$log" 2>&1 || status=$?
	if ! count_tap "$log" "$status" "client $name"; then
		show_tap "$log"
	elif grep -q '^1\.\.0 # SKIP' "$log"; then
		say "  $name skipped: $(sed -n 's/^1\.\.0 # SKIP *//p' "$log")"
	else
		say "  $name ($((SECONDS - start)) s)"
	fi
}

stage_clients() {
	local run name chosen=()
	for run in "$root"/test/clients/*/run; do
		name=$(basename "$(dirname "$run")")
		! client_chosen "$name" || chosen+=("$name")
	done
	[ ${#chosen[@]} -gt 0 ] || return 0
	# An extension named "vector" belongs into a scratch directory only.
	[ -e "$work/extension.conf" ] || {
		say "this server loads no extension from outside the system: no clients"
		return 0
	}
	check "install extension vector" make_in_work DESTDIR="$work/install" install-vector-compat
	mkdir -p "$work/clients"
	cp -R "$root/test/clients" "$work/clients/src"
	start_clients_server
	for name in "${chosen[@]}"; do
		run_client "$name"
	done
	stop_server
	no_crash clients '' "$work/server.log"
}
