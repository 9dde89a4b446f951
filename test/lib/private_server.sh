# shellcheck shell=bash
#
# private_server.sh: a private PostgreSQL with piramid in a directory of its own, which
# bench/quickstart and server/quickstart start, stop and clean.  To be sourced behind
# machine.sh, under "set -euo pipefail", with $root, the directory of the sources,
# $command, how the user has called the script, and $name, of its directory.

# Settings of the caller's own servers have no place here.
for variable in "${!PG@}"; do
	[ "$variable" = PG_CONFIG ] || unset "$variable"
done

if [ -n "${PIRAMID_HOME:-}" ]; then
	home=$PIRAMID_HOME
elif [ "$EUID" -eq 0 ]; then
	home=/var/lib/piramid/$name
else
	home=${XDG_DATA_HOME:-$HOME/.local/share}/piramid/$name
fi
home=$(realpath -m "$home")
data=$home/data
log=$home/server.log

# Stopped by the user, wherever that is: what this run does in the server ends,
# and the server, too, if this run has started it.
started=
interrupted() {
	trap - INT TERM HUP
	warn "
interrupted"
	if [ -n "$started" ] && [ -e "$data/postmaster.pid" ]; then
		as_server "$bindir/pg_ctl" -D "$data" -m fast -w stop >/dev/null 2>&1 || true
		warn "the private server has been stopped"
	elif [ -e "$data/postmaster.pid" ]; then
		sql postgres -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'quickstart' AND pid <> pg_backend_pid()" >/dev/null || true
	fi
	warn "\"$command\" goes on where this run has stopped; \"$command clean\" removes what it has made"
	exit 130
}

step() { printf '\n%s\n' "$*"; }

# psql as the private server's superuser; the first argument is the database.
sql() {
	local database=$1
	shift
	PGAPPNAME=quickstart "$bindir/psql" -X -q -v ON_ERROR_STOP=1 -h "$home" -U postgres -d "$database" "$@"
}

server_runs() {
	[ -e "$data/postmaster.pid" ] &&
		as_server "$bindir/pg_ctl" -D "$data" status >/dev/null 2>&1
}

# Sets pg_config and bindir to the version that the private cluster is of.
use_cluster_version() {
	pg_config=$(find_pg_config "$(cat "$data/PG_VERSION")") ||
		die "$data is of PostgreSQL $(cat "$data/PG_VERSION"), which is not here any more; \"$command clean\" removes it"
	bindir=$("$pg_config" --bindir)
}

make_home() {
	[ $((${#home} + 15)) -le 107 ] ||
		die "$home is too long for a unix socket; set PIRAMID_HOME to a shorter path"
	if [ "$EUID" -eq 0 ]; then
		mkdir -p "$(dirname "$home")"
		[ -d "$home" ] || install -d -o postgres -g postgres -m 700 "$home"
	else
		mkdir -p "$home"
		chmod 700 "$home"
	fi
	as_server test -w "$home" ||
		die "the server's user ($(as_server id -un)) cannot write to $home; set PIRAMID_HOME to another directory"
	[ -e "$home/.piramid-quickstart" ] || [ -z "$(ls -A "$home")" ] ||
		die "$home holds something else; set PIRAMID_HOME to an empty or new directory"
	as_server touch "$home/.piramid-quickstart"
}

build() {
	local make=(make -C "$home/build" --no-print-directory "PG_CONFIG=$pg_config" with_llvm=no)
	copy_source "$root" "$home/build"
	as_server "${make[@]}" -j"$(nproc)" all 2>&1 | as_server tee "$home/build.log" | dots ' -c -o ' || {
		tail -n 30 "$home/build.log" >&2
		die "the build failed; all of its output is in $home/build.log"
	}
	if extension_conf "$home/install" | as_server tee "$home/extension.conf" >/dev/null; then
		as_server "${make[@]}" DESTDIR="$home/install" install >/dev/null
	elif [ -w "$("$pg_config" --sharedir)/extension" ]; then
		"${make[@]}" install >/dev/null
	else
		say "this PostgreSQL loads extensions from the system only: installing piramid there"
		as_root "${make[@]}" install >/dev/null
	fi
}

start_server() {
	if [ ! -e "$data/PG_VERSION" ]; then
		# A directory beside, so that an interrupted initdb is not taken for a cluster.
		as_server rm -rf "$data.new"
		as_server "$bindir/initdb" -D "$data.new" -U postgres -A trust -E UTF8 --no-locale |
			as_server tee "$log" >/dev/null
		as_server tee -a "$data.new/postgresql.conf" >/dev/null <<-CONF
			listen_addresses = ''
			unix_socket_directories = '$home'
			port = 5432
			include_if_exists = '$home/extension.conf'
		CONF
		as_server mv "$data.new" "$data"
	fi
	server_runs && return
	started=yes
	as_server "$bindir/pg_ctl" -D "$data" -l "$log" -w start >/dev/null || {
		tail -n 20 "$log" >&2
		die "the server did not start; its log is $log"
	}
}

stop() {
	if [ ! -e "$data/PG_VERSION" ]; then
		say "there is no server in $home"
		return
	fi
	use_cluster_version
	if server_runs; then
		as_server "$bindir/pg_ctl" -D "$data" -m fast -w stop >/dev/null
		say "the server in $home has stopped"
	else
		say "the server in $home is not running"
	fi
}

clean() {
	if [ ! -e "$home/.piramid-quickstart" ]; then
		say "there is nothing of $command in $home"
		return
	fi
	[ ! -e "$data/postmaster.pid" ] || stop
	# The mark goes last, so that "clean" can be repeated.
	find "$home" -mindepth 1 -maxdepth 1 ! -name .piramid-quickstart -exec rm -rf {} +
	rm -f "$home/.piramid-quickstart"
	if rmdir "$home" 2>/dev/null; then
		say "removed $home"
	else
		say "emptied $home, which cannot be removed (a mount point?)"
	fi
}
