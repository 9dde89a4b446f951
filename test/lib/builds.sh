# shellcheck shell=bash
#
# builds.sh: builds of the extension that find mistakes, for servers as they are
# installed: test/run --build NAME.  Sourced by test/run; stages.sh calls it.

build=			# cassert, asan, valgrind or coverage; nothing for the usual one

# What a build is tried on unless --only says otherwise: the server's code.
build_stages() {
	case $build in
	valgrind) echo regress ;;
	*) echo regress,isolation,tap ;;
	esac
}

# Under valgrind everything takes fifty times as long: scripts that between them
# go through the code.
valgrind_names=(empty_index hnsw_bit hnsw_calibrate hnsw_check hnsw_compact hnsw_ddl hnsw_keys_types
	hnsw_lock hnsw_overflow hnsw_sketches hnsw_sparsevec hnsw_vacuum hnsw_vector hnsw_within
	bm25_ddl bm25_scores chunk sparsevec_functions vector_functions halfvec_type)

prepare_build() {
	case $build in
	asan)
		# With translated messages, the server waits for a lock of libc without end.
		[[ $("$pg_config" --configure) != *--enable-nls* ]] ||
			die "--build asan needs a server configured without --enable-nls; name its pg_config in PG_CONFIG" ;;
	valgrind)
		command -v valgrind >/dev/null || ! have_apt || apt_install valgrind
		command -v valgrind >/dev/null || die "--build valgrind needs valgrind" ;;
	cassert)
		# Inline functions of its headers call what only such a server has.
		[ "$(pg_major)" -lt 18 ] || asserts_in_server ||
			die "--build cassert needs for PostgreSQL 18 a server configured with --enable-cassert; name its pg_config in PG_CONFIG" ;;
	esac
}

# Seconds that a TAP test waits for what it waits for.
patience() {
	case $build in
	asan | valgrind | coverage) echo 1200 ;;
	*) echo "${PG_TEST_TIMEOUT_DEFAULT:-180}" ;;
	esac
}

# Assertions that a server has itself run, too.
asserts_in_server() {
	[[ $("$pg_config" --configure) == *--enable-cassert* ]]
}

# Flags for the compiler and the linker, behind those of the server.
build_flags() {
	case $build in
	cassert) echo "-Werror -DUSE_ASSERT_CHECKING=1" ;;
	asan) echo "-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined" ;;
	valgrind) echo "-O1 -g" ;;
	coverage) echo "-O0 -g --coverage" ;;
	*) echo -Werror ;;
	esac
}

# The directory of pg_ctl and, if it is wrapped, of postgres.
server_bin() {
	if [ -e "$work/bin/postgres" ]; then
		echo "$work/bin"
	else
		"$pg_config" --bindir
	fi
}

# A pg_ctl that finds, beside itself, a postgres under the tool of the build.  What
# the tool reports goes to files in $work/reports.
wrap_server() {
	local command bindir
	bindir=$("$pg_config" --bindir)
	case $build in
	asan)
		# PostgreSQL measures its stack by addresses.
		command="exec env LD_PRELOAD='$(cc -print-file-name=libasan.so)' \\
	ASAN_OPTIONS='detect_leaks=0:abort_on_error=1:disable_coredump=1:handle_segv=1:detect_stack_use_after_return=0:allocator_may_return_null=1:log_path=$work/reports/asan' \\
	UBSAN_OPTIONS='print_stacktrace=1:log_path=$work/reports/ubsan'" ;;
	valgrind)
		command="exec valgrind --quiet --leak-check=no --num-callers=20 --fullpath-after= \\
	--log-file='$work/reports/valgrind.%p'" ;;
	*) return 0 ;;
	esac
	as_server mkdir -p "$work/bin" "$work/reports"
	as_server cp "$bindir/pg_ctl" "$work/bin/"
	as_server tee "$work/bin/postgres" >/dev/null <<WRAPPER
#!/bin/sh
case \$1 in
-V | -C | --describe-config) exec '$bindir/postgres' "\$@" ;;
esac
$command '$bindir/postgres' "\$@"
WRAPPER
	as_server chmod +x "$work/bin/postgres"
}

# Of a stage: each process of which the tool reported something is a failure.  Of
# valgrind, errors in our own code count; the server was not built for it.
count_reports() {
	local report
	[ -e "$work/reports" ] || return 0
	for report in "$work"/reports/*; do
		[ -s "$report" ] || continue
		if [ "$build" = valgrind ]; then
			awk -v code="$work/src/src/" -v RS='==[0-9]+== \n' 'index($0, code)' "$report" |
				as_server tee "$report.ours" >/dev/null
			as_server mv "$report.ours" "$report"
			[ -s "$report" ] || continue
		fi
		not_ok "$build reports"
		head -n 40 "$report"
		as_server mv "$report" "$work/reported.${report##*/}"
	done
	as_server find "$work/reports" -type f -delete
}

least_coverage=92	# percent of the lines of src that the whole run goes through

# Lines of src that ran, by directory.  Of a run of everything, too few are a failure.
report_coverage() {
	local all
	[ "$build" = coverage ] || return 0
	say "lines of src that ran:"
	count_lines | as_server tee "$work/coverage"
	all=$(awk '$1 == "all" { print int($5) }' "$work/coverage")
	if [ ${#names[@]} -eq 0 ] && [ "${#stages[@]}" -ge 3 ] && [ "${all:-0}" -lt "$least_coverage" ]; then
		not_ok "coverage: $all% of lines, and $least_coverage% are wanted"
	fi
	[ -z "$keep" ] || in_work sh -c 'gcov -r src/*.gcda src/*/*.gcda >/dev/null 2>&1' || true
}

# For each directory: its name, "N of M" and a percentage; then files of which many did not run.
count_lines() {
	in_work sh -c 'gcov -r -t src/*.gcda src/*/*.gcda 2>/dev/null' | awk -F: '
		/^ *-: *0:Source:/ { file = $4; next }
		file ~ /^src\// && $1 !~ /-$/ {
			key = file SUBSEP $2 + 0
			if (!(key in ran)) ran[key] = 0
			if ($1 ~ /[0-9]/) ran[key] = 1
		}
		END {
			for (key in ran) {
				split(key, part, SUBSEP)
				directory = part[1]
				sub("/[^/]*$", "", directory)
				lines[directory]++; hit[directory] += ran[key]
				lines["all"]++; hit["all"] += ran[key]
				of[part[1]]++; missed[part[1]] += !ran[key]
			}
			for (d in lines)
				printf "  %-14s %6d of %6d  %5.1f%%\n", d, hit[d], lines[d], 100 * hit[d] / lines[d] | "sort"
			close("sort")
			for (f in of)
				if (missed[f] > 15)
					printf "    %-40s %4d of %4d did not\n", f, missed[f], of[f] | "sort -k2nr"
		}'
}
