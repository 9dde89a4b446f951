# shellcheck shell=bash
#
# machine.sh: what bench/quickstart and test/run share.  Finds PostgreSQL on
# this machine, installs what is missing with the system's package manager, and
# lets a private server load an extension that is not installed in the system.
#
# To be sourced, under "set -euo pipefail".

oldest_pg=15
newest_pg=18

say()  { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die()  { warn "${0##*/}: $*"; exit 1; }

# Run a command as root: for packages and chroots, nothing else needs it.
as_root() {
	need_root "$*"
	if [ "$EUID" -eq 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

can_be_root() { [ "$EUID" -eq 0 ] || command -v sudo >/dev/null; }

# need_root COMMAND: stop, saying what to run as root, where we cannot.
need_root() {
	can_be_root || die "this needs root, and there is no sudo.  As root, run:
  $*"
}

# Run a command as the user that runs servers here: PostgreSQL refuses root.
# From /, because that user may not be allowed into the current directory.
as_server() {
	if [ "$EUID" -eq 0 ]; then
		(cd / && runuser -u postgres -- "$@")
	else
		"$@"
	fi
}

# The whole line tells which server this pg_config builds for: "15 PATH", or
# nothing where the server or its headers are missing.
describe_pg_config() {
	local path=$1 major bindir
	[ -x "$path" ] || return 0
	major=$("$path" --version 2>/dev/null | sed -n 's/^PostgreSQL \([0-9]*\).*/\1/p')
	bindir=$("$path" --bindir 2>/dev/null) || return 0
	if [ -n "$major" ] && [ -x "$bindir/initdb" ] && [ -x "$bindir/postgres" ] &&
		[ -f "$("$path" --pgxs)" ] &&
		[ -f "$("$path" --includedir-server)/postgres.h" ]; then
		printf '%s %s\n' "$major" "$path"
	fi
}

# find_pg_config [MAJOR]: the pg_config of that version, or of the newest one
# that can be built for.  PG_CONFIG in the environment goes first.
find_pg_config() {
	local major path
	while read -r major path; do
		if [ "$major" -ge "$oldest_pg" ] && [ "$major" -le "$newest_pg" ] &&
			[ "$major" = "${1:-$major}" ]; then
			printf '%s\n' "$path"
			return 0
		fi
	done < <(
		[ -z "${PG_CONFIG:-}" ] ||
			describe_pg_config "$(realpath -s "$(command -v "$PG_CONFIG" || printf '%s' "$PG_CONFIG")")"
		{
			for path in /usr/lib/postgresql/*/bin/pg_config \
				/usr/pgsql-*/bin/pg_config /usr/local/pgsql/bin/pg_config \
				"$(command -v pg_config)"; do
				describe_pg_config "$path"
			done
		} | sort -rn -k1,1 -s
	)
	return 1
}

have_apt() { command -v apt-get >/dev/null; }

# Is there a package of this name to install?
apt_has() {
	have_apt && apt_update &&
		LC_ALL=C apt-cache policy "$1" 2>/dev/null | grep 'Candidate: [^(]' >/dev/null
}

# apt_get ARGUMENT...: as root, one at a time: a second one would not wait for
# the first one's lock on the package lists.
apt_get() {
	as_root flock /var/lib env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -q "$@"
}

apt_updated=
apt_problem=	# what apt-get update said when it failed

# Bring the package lists up to date, once.  Where that fails, or nobody here
# may do it, those that are there have to do.
apt_update() {
	local log
	[ -z "$apt_updated" ] || return 0
	apt_updated=yes
	can_be_root || return 0
	log=$(mktemp)
	# Without the option, downloads that fail are no error.
	if ! apt_get -o APT::Update::Error-Mode=any update >"$log" 2>&1; then
		apt_problem=$(grep -v '^Reading' "$log" | tail -n 4)
		warn "apt-get update failed: is there no network?  Going on with the lists that are there.  It said:
$apt_problem"
	fi
	rm -f "$log"
}

# dots PATTERN: a dot for each line of standard input that matches, so that
# what takes long is seen to go on.
dots() {
	local line any=
	while IFS= read -r line; do
		if [[ $line =~ $1 ]]; then
			printf '.'
			any=yes
		fi
	done
	[ -z "$any" ] || echo
}

# apt_install PACKAGE...: install those that are missing.
apt_install() {
	local package log install missing=()
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
			missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	need_root "apt-get install ${missing[*]}"
	apt_update
	say "installing ${missing[*]}"
	install=(apt_get install --no-install-recommends -o DPkg::Lock::Timeout=300)
	# What it will be, as far as apt tells: packages, and what to download.
	"${install[@]}" --assume-no "${missing[@]}" </dev/null 2>/dev/null |
		sed -nE 's/.*, ([0-9]+) newly installed.*/  packages: \1/p; s/^Need to get (.*) of archives.*/  download: \1/p' || true
	log=$(mktemp)
	if ! "${install[@]}" -y "${missing[@]}" </dev/null 2>&1 |
		tee "$log" | dots '^(Get:|Unpacking |Setting up )'; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		die "could not install ${missing[*]}"
	fi
	rm -f "$log"
}

# The version to install where none was asked for: the newest server that
# lacks only its headers, else the one that this release packages.
packaged_pg() {
	local path major best=
	for path in /usr/lib/postgresql/*/bin/postgres; do
		major=${path#/usr/lib/postgresql/}
		major=${major%%/*}
		if [ -x "$path" ] && [ "$major" -ge "$oldest_pg" ] &&
			[ "$major" -le "$newest_pg" ] && [ "$major" -gt "${best:-0}" ]; then
			best=$major
		fi
	done
	if [ -z "$best" ]; then
		best=$(apt-cache show postgresql 2>/dev/null |
			sed -n 's/^Depends:.*postgresql-\([0-9][0-9]*\).*/\1/p' | head -n 1)
	fi
	printf '%s\n' "$best"
}

# install_postgres MAJOR: the server, its headers, compiler and make.  Debian's
# packages would create and start a cluster "main"; a drop-in that is there
# only during the installation prevents it.
install_postgres() {
	local major=$1 dropin=/etc/postgresql-common/createcluster.d/piramid.conf
	need_root "apt-get install postgresql-$major postgresql-server-dev-$major build-essential"
	apt_update
	as_root mkdir -p "${dropin%/*}"
	# In a subshell, so that the trap takes the drop-in away in any case.
	(
		trap 'as_root rm -f "$dropin"' EXIT
		printf "create_main_cluster = false\n" | as_root tee "$dropin" >/dev/null
		apt_install "postgresql-$major" "postgresql-server-dev-$major"
	)
	apt_install build-essential
}

# need_postgres [MAJOR]: sets pg_config, installing PostgreSQL where it is
# missing.  Also checks for the tools that building needs.
need_postgres() {
	local major=${1:-}
	if ! pg_config=$(find_pg_config "$major"); then
		have_apt || die "PostgreSQL ${major:-$oldest_pg or newer} with its server headers is not here, and there is no apt-get to install it.
Install the server and its development package, and set PG_CONFIG to its pg_config."
		if [ -z "$major" ]; then
			apt_update
			major=$(packaged_pg)
		fi
		[ -n "$major" ] || die "no package of PostgreSQL is known here${apt_problem:+, and apt-get update failed (see above)}.
Once there is a network, run this again; or install PostgreSQL $oldest_pg to $newest_pg yourself.  As root, run:
  apt-get update && apt-get install postgresql postgresql-server-dev-all build-essential"
		if [ "$major" -lt "$oldest_pg" ] || [ "$major" -gt "$newest_pg" ]; then
			die "this release packages PostgreSQL $major; piramid needs $oldest_pg to $newest_pg.
Install one of them with its server-dev package, then run this again."
		fi
		install_postgres "$major"
		pg_config=$(find_pg_config "$major") ||
			die "PostgreSQL $major was installed, but its pg_config does not work"
	fi
	if ! command -v make >/dev/null || ! command -v cc >/dev/null; then
		have_apt || die "building needs a C compiler and make: install them, then run this again"
		apt_install build-essential
	fi
	if [ "$EUID" -eq 0 ] && ! id postgres >/dev/null 2>&1; then
		die "PostgreSQL does not run as root, and there is no user postgres to run it as; run this as an ordinary user"
	fi
}

# The sources as a tar stream, without anything built.
source_tar() {
	tar -C "$1" -cf - --exclude=.git --exclude='*.o' --exclude='*.so' \
		--exclude='*.bc' --exclude=./build --exclude=./results \
		--exclude=./output_iso --exclude=./tmp_check .
}

# copy_source FROM TO: a copy that the server's user owns.  Files keep their
# times, so building in it again is incremental.
copy_source() {
	local errors
	as_server mkdir -p "$2"
	# tar says the same of every file.
	errors=$({ source_tar "$1" | as_server tar -C "$2" -xf - --no-same-owner --no-same-permissions; } 2>&1) ||
		die "cannot copy the sources to $2:
$(head -n 1 <<<"$errors")"
}

# extension_conf DIR: settings with which a server finds an extension that was
# installed with DESTDIR=DIR.  Fails where the server has no such setting: then
# only installing in the system helps.
extension_conf() {
	local bindir share lib settings
	bindir=$("$pg_config" --bindir)
	share=$("$pg_config" --sharedir)
	lib=$("$pg_config" --pkglibdir)
	settings=$(as_server "$bindir/postgres" --describe-config | cut -f 1)
	case $'\n'$settings$'\n' in
	*$'\nextension_control_path\n'*)	# PostgreSQL 18
		printf "extension_control_path = '%s:\$system'\n" "$1$share" ;;
	*$'\nextension_destdir\n'*)			# Debian's and Ubuntu's packages
		printf "extension_destdir = '%s'\n" "$1" ;;
	*)
		return 1 ;;
	esac
	printf "dynamic_library_path = '%s:\$libdir'\n" "$1$lib"
}
