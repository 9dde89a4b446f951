# shellcheck shell=bash
#
# stages.sh: the stages of test/run, for the server that $pg_config names.
# Each adds to $passed and $failed.  Sourced by test/run.

work=			# scratch directory of the version under test
results=()		# for report.sh, a line for each stage that has run

ok() { passed=$((passed + 1)); }

not_ok() {
	failed=$((failed + 1))
	say "not ok: $*"
}

# in_work COMMAND...: as the server's user, in the copy of the sources.
in_work() {
	as_server env --chdir="$work/src" "$@"
}

pg_major() {
	"$pg_config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/'
}

make_in_work() {
	in_work make -s PG_CONFIG="$pg_config" with_llvm=no "$@"
}

clean_up() {
	remove_chroot_copy
	stop_tap
	[ -n "$work" ] || return 0
	stop_server
	if [ -n "$keep" ]; then
		say "kept $work"
	else
		rm -rf "$work/clients"	# of the user who runs the tests
		as_server rm -rf "$work"
	fi
	work=
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

# What the chosen stages need beyond building.
prepare_stages() {
	local stage
	prepare_build
	for stage in "${stages[@]}"; do
		case $stage in
		tap)
			perl -MIPC::Run -MTest::More -e 1 2>/dev/null || {
				have_apt || die "the TAP tests need Perl with IPC::Run and Test::More"
				apt_install perl libipc-run-perl
			}
			# No other file is to be skipped for want of a small package.
			[ -z "${CI:-}" ] || [ -n "$by_version" ] || ! apt_has sqlsmith || apt_install sqlsmith
			[ -z "${CI:-}" ] || [ -n "$by_version" ] || ! apt_has pgbackrest || apt_install pgbackrest
			prepare_pgvector ;;
		unit)
			# The kernels of arm64, emulated, where nobody waits for it.
			[ -z "${CI:-}" ] || ! have_apt ||
				apt_install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ;;
		fuzz)
			# Elsewhere, a machine without clang's fuzzer replays the corpus.
			[ -z "${CI:-}" ] || ! apt_has libclang-rt-dev ||
				apt_install clang libclang-rt-dev ;;
		server)
			[ -z "${CI:-}" ] || ! have_apt || apt_install python3 python3-venv ;;
		clients) prepare_clients ;;
		packages) prepare_packages ;;
		lint)
			! have_apt || apt_install shellcheck ;;
		esac
	done
}

# pgvector beside the server, to move from and to; before Debian's 17 it is too
# old.  Without it those tests are skipped.
prepare_pgvector() {
	local major
	major=$(pg_major)
	if have_apt && [ "$major" -ge 17 ] &&
		[ ! -e "$("$pg_config" --sharedir)/extension/vector.control" ] &&
		apt_has "postgresql-$major-pgvector"; then
		apt_install "postgresql-$major-pgvector"
	fi
}

# note_result VERSION STAGE PASSED FAILED START
note_result() {
	results+=("$1 $2 $3 $4 $((SECONDS - $5))")
}

run_stages() {
	local stage version
	version=$("$pg_config" --version)
	say "== ${version%% (*}"
	version=$(pg_major)
	work=$(as_server mktemp -d "${TMPDIR:-/tmp}/piramid-test.XXXXXX")
	copy_source "$root" "$work/src"
	if run_stage "$version" build; then
		for stage in "${stages[@]}"; do
			run_stage "$version" "$stage"
		done
		report_coverage
	fi
	clean_up
}

# run_stage VERSION STAGE: with a line that sums it up.  Fails only if nothing
# was built.
run_stage() {
	local stage=$2 p=$passed f=$failed start=$SECONDS
	"stage_$stage"
	count_reports
	note_result "$1" "$stage" $((passed - p)) $((failed - f)) "$start"
	printf '%-10s %4d passed, %d failed (%d s)\n' "$stage" \
		$((passed - p)) $((failed - f)) $((SECONDS - start))
	[ "$passed" -gt "$p" ] || [ "$stage" != build ]
}

# check NAME COMMAND...: one test that is a command; its output if it fails.
check() {
	local name=$1 log
	shift
	log=$(mktemp)
	if "$@" >"$log" 2>&1; then
		ok
	else
		not_ok "$name"
		tail -n 60 "$log"
	fi
	rm -f "$log"
}

stage_build() {
	local flags
	flags=$(build_flags)
	check "build ${build:-with warnings as errors}" make_in_work -j"$(nproc)" COPT="$flags" all
	make_in_work COPT="$flags" DESTDIR="$work/install" install >/dev/null 2>&1 || true
	wrap_server
	if ! extension_conf "$work/install" | as_server tee "$work/extension.conf" >/dev/null; then
		say "this server loads no extension from outside the system: installing piramid in it"
		as_root make -s -C "$work/src" PG_CONFIG="$pg_config" with_llvm=no install >/dev/null
	fi
}

# count LOG STATUS NAME PASS FAIL: count the lines of LOG that match the Perl
# patterns PASS and FAIL.  A run that fails without saying so, or that runs
# nothing, is one failure.
count() {
	local log=$1 status=$2 name=$3 p f
	p=$(grep -cP "$4" "$log") || true
	f=$(grep -cP "$5" "$log") || true
	passed=$((passed + p))
	if [ "$f" -gt 0 ]; then
		failed=$((failed + f))
		say "not ok: $name"
	elif [ "$status" -ne 0 ]; then
		not_ok "$name ended with status $status"
	elif [ "$p" -eq 0 ] && ! grep -q '^1\.\.0 # SKIP' "$log"; then
		not_ok "$name ran no test"
	else
		return 0
	fi
	return 1
}

count_tap() {
	count "$@" '^ok (?!.*# skip)' '^not ok '
}

# What went wrong in a TAP log: the failed points, and how it ended.
show_tap() {
	grep -A 8 '^not ok' "$1" | head -n 60 || true
	say "  its last lines:"
	tail -n 15 "$1"
}

# no_crash NAME KILLS LOG...: one failure if server logs say that a process died.  KILLS
# tells that the test itself kills some, which dies by signal 9.
no_crash() {
	local name=$1 ours='^$' crashes
	[ -z "$2" ] || ours='by signal 9'
	shift 2
	crashes=$(grep -hE 'PANIC: |TRAP: |was terminated by signal|was terminated by exception' "$@" 2>/dev/null |
		grep -vE "$ours" | head -n 20) || true
	[ -n "$crashes" ] || return 0
	not_ok "$name: a process of a server died"
	say "$crashes"
}

# unit_tests TARGET DIRECTORY [ASSIGNMENT...]: the programs keep their TAP in
# files and print only what fails.
unit_tests() {
	local target=$1 tap=$work/src/build/$2 log=$work/$2.log status=0
	shift 2
	say "  compiling $(make_in_work -C test/unit list "$@" | wc -w) programs ($target)"
	make_in_work -j"$(nproc)" -C test/unit "$target" "$@" 2>&1 | as_server tee "$log.make" |
		sed -nu 's/^# test_/  test_/p' || status=$?
	cat "$tap"/*.tap 2>/dev/null | as_server tee "$log" >/dev/null || true
	count_tap "$log" "$status" "make -C test/unit $target" || {
		show_tap "$log"
		tail -n 20 "$log.make"
	}
}

stage_unit() {
	local kernels
	[ ${#names[@]} -eq 0 ] || return 0
	unit_tests check unit
	if command -v aarch64-linux-gnu-gcc >/dev/null && command -v qemu-aarch64 >/dev/null; then
		kernels=$(make_in_work -C test/unit list | tr ' ' '\n' | grep distance | tr '\n' ' ')
		unit_tests check-neon unit-neon TESTS="$kernels"
	fi
}

# One check per type: what the fuzzer finds, or the corpus without a fuzzer.
stage_fuzz() {
	local type start
	[ ${#names[@]} -eq 0 ] || return 0
	for type in $(make_in_work -C test/fuzz list); do
		start=$SECONDS
		check "make -C test/fuzz check TYPES=$type" make_in_work -C test/fuzz check TYPES="$type"
		say "  $type ($((SECONDS - start)) s)"
	done
}

# start_server [SETTING...]: the settings go last.
start_server() {
	local bindir
	bindir=$("$pg_config" --bindir)
	[ ! -e "$work/data/postmaster.pid" ] || return 0
	as_server rm -rf "$work/data"
	as_server "$bindir/initdb" -D "$work/data" -U postgres -A trust -N --no-locale -E UTF8 >/dev/null
	{
		[ ! -e "$work/extension.conf" ] || as_server cat "$work/extension.conf"
		printf "%s\n" "listen_addresses = ''" "unix_socket_directories = '$work'" \
			"fsync = off" "jit = off" "autovacuum = off" "max_prepared_transactions = 2" "$@"
	} | as_server tee -a "$work/data/postgresql.conf" >/dev/null
	as_server "$(server_bin)/pg_ctl" -D "$work/data" -l "$work/server.log" -w -t 300 start >/dev/null
}

stop_server() {
	[ -e "$work/data/postmaster.pid" ] || return 0
	as_server "$("$pg_config" --bindir)/pg_ctl" -D "$work/data" -m immediate stop >/dev/null || true
}

# PGXS's installcheck against a private server.  $1: REGRESS or ISOLATION, the
# variable of the Makefile; $2: the other, to be empty; $3: where inputs are, and
# $4 their suffix; $5: the directory with the diffs.
installcheck() {
	local log=$work/$1.log status=0 name chosen=()
	for name in "${names[@]}"; do
		[ ! -e "$root/$3/$name.$4" ] || chosen+=("$name")
	done
	[ ${#names[@]} -eq 0 ] || [ ${#chosen[@]} -gt 0 ] || return 0
	# With --by-version, not those whose head says "In all versions:" and why.
	if [ ${#names[@]} -eq 0 ] && [ -n "$by_version" ]; then
		for name in $(make_in_work --eval="list: ; @echo \$($1)" list); do
			grep -q '^-- In all versions: ' "$root/$3/$name.$4" || chosen+=("$name")
		done
	fi
	start_server
	make_in_work PGHOST="$work" PGPORT=5432 PGUSER=postgres "$2=" \
		${chosen[0]:+"$1=${chosen[*]}"} installcheck 2>&1 |
		as_server tee "$log" >/dev/null || status=$?
	count "$log" "$status" "$1" '^ok |\.\.\. ok( |$)' '^not ok |\.\.\. FAILED' || {
		grep -E '^not ok |\.\.\. FAILED' "$log" || tail -n 20 "$log"
		head -n 120 "$work/src/$5/regression.diffs" 2>/dev/null || true
	}
	no_crash "$1" '' "$work/server.log"
	stop_server
}

stage_regress()   { installcheck REGRESS ISOLATION sql sql .; }
stage_isolation() { installcheck ISOLATION REGRESS test/specs spec output_iso; }

old_bindir=		# the programs of the version before, if they are there with the extension

# For pg_upgrade: the extension for the server that give_old_server has brought.
prepare_old_server() {
	local found=(/opt/pg*/usr/lib/postgresql/*/bin/pg_config)
	[ -z "$inside" ] || [[ $(tap_files) != *380_copies* ]] || [ ! -x "${found[0]}" ] || {
		copy_source "$root" "$work/old"
		check "build for $("${found[0]}" --version)" as_server make -s -j"$(nproc)" -C "$work/old" PG_CONFIG="${found[0]}" \
			with_llvm=no COPT=-O0 all
		as_root make -s -C "$work/old" PG_CONFIG="${found[0]}" with_llvm=no install >/dev/null 2>&1 || true
		old_bindir=${found[0]%/*}
	}
}

# The TAP files to run: those named; or all; or, with --by-version, those whose
# head says "By version:" and why, or "By version, on N:" for this version.
tap_files() {
	local file name
	for file in "$root"/test/t/*.pl; do
		name=$(basename "$file" .pl)
		if [ ${#names[@]} -gt 0 ]; then
			[[ " ${names[*]} " != *" $name "* ]] || say "$name"
		elif [ -z "$by_version" ] || grep -qE "^# By version(, on $(pg_major))?: " "$file"; then
			say "$name"
		fi
	done
}

# One TAP file in a directory of its own, and how long it took.
run_tap() {
	local name=$1 dir=$work/tap/$1 pgxs start=$SECONDS status=0
	pgxs=$("$pg_config" --pgxs)
	pgxs=${pgxs%/src/makefiles/pgxs.mk}
	as_server mkdir -p "$dir/tmp_check/log"
	in_work env PATH="$(server_bin):$("$pg_config" --bindir):$PATH" PG_TEST_PORT_DIR="$work/tap" \
		${old_bindir:+PIRAMID_OLD_BINDIR="$old_bindir"} PG_REGRESS="$pgxs/src/test/regress/pg_regress" TEMP_CONFIG="$work/extension.conf" \
		PG_TEST_TIMEOUT_DEFAULT="$(patience)" TESTDIR="$dir" TESTDATADIR="$dir/tmp_check" TESTLOGDIR="$dir/tmp_check/log" \
		perl -I "$pgxs/src/test/perl" -I test/lib "test/t/$name.pl" </dev/null 2>&1 |
		as_server tee "$dir/log" >/dev/null || status=$?
	printf '%d %d\n' "$status" $((SECONDS - start)) | as_server tee "$dir/ended" >/dev/null
}

tap_running=()		# files that run, by the process groups that run them

# Wait until a TAP file has ended, and count it.
end_tap() {
	local pid name dir status seconds
	wait -n || true
	for pid in "${!tap_running[@]}"; do
		name=${tap_running[pid]}
		dir=$work/tap/$name
		! kill -0 "$pid" 2>/dev/null || continue
		unset "tap_running[$pid]"
		if ! read -r status seconds 2>/dev/null <"$dir/ended"; then
			not_ok "$name did not end by itself"
		elif count_tap "$dir/log" "$status" "$name"; then
			say "  $name ($seconds s)"
		else
			show_tap "$dir/log"
		fi
		no_crash "$name" "$(grep -lE "\\bcrash\(|'KILL'|kill9" "$root/test/t/$name.pl")" "$dir"/tmp_check/log/*.log
	done
}

stop_tap() {
	local pid
	for pid in "${!tap_running[@]}"; do
		kill -- "-$pid" 2>/dev/null || true
	done
	[ ${#tap_running[@]} -eq 0 ] || wait || true
	tap_running=()
}

# Each TAP file by itself, so that a failure shows that file's output and logs;
# as many at once as --jobs says.
stage_tap() {
	local name
	prepare_old_server
	for name in $(tap_files); do
		while [ ${#tap_running[@]} -ge "$jobs" ]; do
			end_tap
		done
		set -m		# a process group, so that it can be stopped as a whole
		run_tap "$name" &
		tap_running[$!]=$name
		set +m
	done
	while [ ${#tap_running[@]} -gt 0 ]; do
		end_tap
	done
}
