# shellcheck shell=bash
#
# common.sh: what the clients' "run" scripts share.  To be sourced at their
# beginning; afterwards the current directory is the client's folder.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[1]}")"

# skip REASON: nothing is tested.
skip() {
	printf '1..0 # SKIP %s\n' "$*"
	exit 0
}

# need TOOL...: skip where one is missing.
need() {
	local tool
	for tool; do
		command -v "$tool" >/dev/null || skip "no $tool on this machine"
	done
}

# at_least WHAT VERSION MINIMUM: skip where what the machine has is too old.
at_least() {
	[ "$(printf '%s\n' "$2" "$3" | sort -V | head -n 1)" = "$3" ] ||
		skip "$1 $2 on this machine, needs $3"
}

# fetch COMMAND...: take the libraries from their registry.  Where that fails,
# a developer without a network skips the client; CI does not.
fetch() {
	"$@" >"$WORK/fetch.log" 2>&1 && return
	[ -n "${CI:-}" ] || skip "cannot fetch the libraries: $*"
	printf 'not ok 1 - %s\n1..1\n' "$*"
	tail -n 40 "$WORK/fetch.log"
	exit 1
}

# create_database NAME: beside $PGDATABASE, for a library's own test suite.  A
# suite has a database of a fixed name, whichever of our clients runs it.
create_database() {
	local bindir
	bindir=$("$PG_CONFIG" --bindir)
	"$bindir/dropdb" --if-exists --maintenance-db="$PGDATABASE" "$1"
	"$bindir/createdb" --maintenance-db="$PGDATABASE" "$1"
}
