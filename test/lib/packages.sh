# shellcheck shell=bash
#
# packages.sh: the stage "packages" of test/run: what users install, as
# docs/install.md tells them.  test/packages/README.md says more.  Sourced by
# test/run; needs stages.sh.

# In CI, what builds and checks a Debian package; elsewhere that part is skipped
# where it is missing.
prepare_packages() {
	[ -n "${CI:-}" ] && [ -z "$prepare" ] && have_apt || return 0
	! apt_has postgresql-common-dev || apt_install postgresql-common-dev
	apt_install debhelper lintian
}

# in_overlay COMMAND...: run as root in this system as it is, but what is written
# ends with the command.  /src is a copy of the sources with what is built; there
# is no network.  Inside a chroot, "/" has no propagation to change.
in_overlay() {
	as_server mkdir -p "$work/overlay"
	# shellcheck disable=SC2016	# the inner shell expands them
	as_root unshare --mount --propagation unchanged --pid --net --fork --kill-child bash -ec '
		mount --make-rprivate / 2>/dev/null || true
		mount -t tmpfs tmpfs "$0"
		mkdir "$0/upper" "$0/work" "$0/root"
		mount -t overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" overlay "$0/root"
		cp -a "$1" "$0/root/src"
		shift
		cd "$0/root"
		mount -t proc proc proc
		mount --rbind /dev dev
		mount -t tmpfs -o mode=1777 tmpfs tmp
		exec chroot . "$@"' "$work/overlay" "$work/src" \
		/usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive ${CI:+"CI=$CI"} "$@"
}

# What cannot run here: a failure where everything has to.
skip_packages() {
	[ -z "${CI:-}" ] || { not_ok "packages: $1"; return 0; }
	say "  packages skipped: $1"
}

# tap_of NAME COMMAND...: a command that prints TAP.
tap_of() {
	local name=$1 log=$work/packages.$1.log status=0 start=$SECONDS
	shift
	"$@" </dev/null 2>&1 | as_server tee "$log" >/dev/null || status=$?
	if ! count_tap "$log" "$status" "packages $name"; then
		show_tap "$log"
	elif grep -q '^1\.\.0 # SKIP' "$log"; then
		say "  $name skipped: $(sed -n 's/^1\.\.0 # SKIP *//p' "$log")"
	else
		say "  $name ($((SECONDS - start)) s)"
	fi
}

# Build the image, where a builder runs that can fetch PostgreSQL's.
build_image() {
	local builder major=$1 image=piramid-test-$$
	for builder in docker podman; do
		if "$builder" info >/dev/null 2>&1 &&
			"$builder" pull "docker.io/library/postgres:$major" >/dev/null 2>&1; then
			check "$builder build" "$builder" build -t "$image" --build-arg "PG_MAJOR=$major" "$root"
			check "the image has piramid" "$builder" run --rm "$image" \
				ls "/usr/share/postgresql/$major/extension/piramid.control" \
				"/usr/lib/postgresql/$major/lib/piramid.so"
			"$builder" rmi "$image" >/dev/null 2>&1 || true
			return 0
		fi
	done
	say "  image not built: no docker or podman that can fetch postgres:$major"
}

stage_packages() {
	local part major
	major=$("$pg_config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
	for part in facts package source container; do
		[ ${#names[@]} -eq 0 ] || [[ " ${names[*]} " == *" $part "* ]] || continue
		if [ "$part" = facts ]; then
			tap_of facts in_work test/packages/facts
		elif [ "$pg_config" != "/usr/lib/postgresql/$major/bin/pg_config" ]; then
			skip_packages "$part: the server is not of a Debian package"
		elif ! in_overlay true 2>/dev/null; then
			skip_packages "$part: no overlay can be mounted"
		else
			tap_of "$part" in_overlay /src/test/packages/run "$part" "$major"
		fi
		[ "$part" != container ] || build_image "$major"
	done
}
