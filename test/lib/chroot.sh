# shellcheck shell=bash
#
# chroot.sh: run test/run in a small Debian that has another version of
# PostgreSQL.  Sourced by test/run.

cache=${PIRAMID_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/piramid}

# The Debian release that packages a version.
suite_of() {
	case $1 in
	15) echo bookworm ;;
	17) echo trixie ;;
	18) echo sid ;;
	esac
}

# The mirror that this machine's apt uses for Debian; nothing (debootstrap's
# default) on another distribution.
debian_mirror() {
	# shellcheck disable=SC2016	# apt-get expands these
	LC_ALL=C apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' \
		'Created-By: Packages' 2>/dev/null |
		awk '$1 == "Debian" && $2 !~ /-security/ { if (!n++) print $3 }'
}

# in_chroot DIR COMMAND...: run in DIR with /proc and /dev.  The mounts and the
# processes are in namespaces of their own, so that nothing is left behind when
# the run is interrupted.  Of the environment, CI and what tests read goes with it.
in_chroot() {
	local dir=$1 settings
	shift
	mapfile -t settings < <(env | grep -E '^(CI|PIRAMID_[A-Z_]+)=.' | grep -v ^PIRAMID_CACHE=)
	# shellcheck disable=SC2016	# the inner shell expands $0 and $@
	as_root unshare --mount --pid --fork --kill-child --mount-proc="$dir/proc" \
		bash -c 'mount --rbind /dev "$0/dev" && exec chroot "$0" "$@"' "$dir" \
		/usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
		"${settings[@]}" "$@"
}

# copy_into_chroot DIR INSIDE: the sources, owned by root, at DIR/INSIDE.
copy_into_chroot() {
	as_root mkdir -p "$1$2"
	source_tar "$root" | as_root tar -C "$1$2" -xf - --no-same-owner
}

# Make the chroot of a version: in a directory beside, renamed when complete.
make_chroot() {
	local version=$1 dir=$2 suite log
	suite=$(suite_of "$version")
	[ -n "$suite" ] || {
		warn "PostgreSQL $version is in no Debian release: install it on this machine to test with it"
		return 1
	}
	have_apt || {
		warn "PostgreSQL $version is not installed, and only Debian and Ubuntu can make a chroot that has it"
		return 1
	}
	apt_install debootstrap
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || apt_install debian-archive-keyring
	say "making a chroot with PostgreSQL $version (Debian $suite) in $dir"
	log=$(mktemp)
	# Mounts that debootstrap makes end with the namespace.
	as_root rm -rf --one-file-system "$dir.tmp"
	# shellcheck disable=SC2046	# no word where there is no mirror to name
	if ! as_root unshare --mount debootstrap --variant=minbase --include=ca-certificates \
		"$suite" "$dir.tmp" $(debian_mirror) >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -f "$log"
		return 1
	fi
	rm -f "$log"
	printf 'Acquire::Check-Valid-Until "false";\n' |
		as_root tee "$dir.tmp/etc/apt/apt.conf.d/90piramid" >/dev/null
	copy_into_chroot "$dir.tmp" /build/prepare
	in_chroot "$dir.tmp" /build/prepare/test/run --prepare --inside --pg "$version" \
		--only "$(IFS=,; printf '%s' "${stages[*]}")" || return 1
	as_root rm -rf "${dir:?}.tmp/build"
	as_root mv "$dir.tmp" "$dir"
}

# need_chroot VERSION: made where it is missing, by one run at a time.
need_chroot() {
	local version=$1 dir=$cache/pg$1 lock status=0 start=$SECONDS
	mkdir -p "$cache"
	exec {lock}>"$dir.lock"
	flock "$lock"
	if [ ! -d "$dir" ]; then
		make_chroot "$version" "$dir" || status=1
		note_result "$version" chroot 0 "$status" "$start"
	fi
	exec {lock}>&-
	if [ "$status" -ne 0 ]; then
		not_ok "PostgreSQL $version: no chroot to test in"
	fi
	return "$status"
}

# give_old_server VERSION DIR: for pg_upgrade to 17, this machine's 15 in DIR/opt: its files, which
# find each other there, and the libraries that DIR has not.
give_old_server() {
	local dir=$2 to=$2/opt/pg15 path=/usr/lib/postgresql/15/bin
	[ "$1" = 17 ] && [ ! -e "$to" ] && [ -x "$path/postgres" ] || return 0
	as_root rm -rf "$to.tmp"
	as_root mkdir -p "$to.tmp/libraries"
	as_root tar -C / --exclude=bitcode -cf - usr/lib/postgresql/15 usr/share/postgresql/15 \
		usr/include/postgresql/15/server | as_root tar -C "$to.tmp" -xf -
	ldd "$path/postgres" "$path/psql" "$path/pg_ctl" | awk '$2 == "=>" { print $3 }' | sort -u |
		while read -r path; do
			[ -e "$dir$path" ] || [ -e "$dir/usr$path" ] || as_root cp -L "$path" "$to.tmp/libraries/"
		done
	as_root mv "$to.tmp" "$to"
	echo /opt/pg15/libraries | as_root tee "$dir/etc/ld.so.conf.d/pg15.conf" >/dev/null
	in_chroot "$dir" ldconfig
}

# run_in_chroot VERSION: this same script inside, its results added to ours.
run_in_chroot() {
	local version=$1 dir=$cache/pg$1 inside only line counts
	need_chroot "$version" || return 0
	[ -z "$prepare" ] || return 0
	give_old_server "$version" "$dir"
	inside=/build/run.$$
	chroot_copy=$dir$inside
	copy_into_chroot "$dir" "$inside"
	only=$(IFS=,; printf '%s' "${stages[*]}")
	in_chroot "$dir" "$inside/test/run" --pg "$version" --only "$only" --jobs "$jobs" \
		${build:+--build "$build"} ${keep:+--keep} ${by_version:+--by-version} --inside --tally "$inside/tally" "${names[@]}" || true
	if [ -s "$dir$inside/tally" ]; then
		while read -r line; do
			results+=("$line")
			read -r -a counts <<<"$line"
			passed=$((passed + counts[2]))
			failed=$((failed + counts[3]))
		done <"$dir$inside/tally"
	else
		not_ok "PostgreSQL $version: the run in the chroot ended early"
		note_result "$version" chroot 0 1 "$SECONDS"
	fi
	remove_chroot_copy
}

# The sources in a chroot, to be removed however the run ends.
chroot_copy=
remove_chroot_copy() {
	[ -z "$chroot_copy" ] || as_root rm -rf --one-file-system "$chroot_copy"
	chroot_copy=
}
