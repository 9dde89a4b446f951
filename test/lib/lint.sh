# shellcheck shell=bash
#
# lint.sh: what can be checked without a server.  Sourced by test/run; needs
# stages.sh.

# none PATTERN WHERE...: fail, showing them, if lines match.
none() {
	! grep -rnHIE -e "$@"
}

# src/README.md: includes run downward only.
includes_run_downward() {
	awk '
		BEGIN { rank["type"] = 1; rank["distance"] = 2; rank["quant"] = 3; rank["hnsw"] = 4 }
		match($0, /^#include "[a-z0-9]+\//) {
			split(FILENAME, path, "/")
			to = substr($0, RSTART + 10, RLENGTH - 11)
			if (rank[to] > rank[path[2]] && path[3] != "") {
				print FILENAME ": " $0
				bad = 1
			}
		}
		END { exit bad }' src/*.[ch] src/*/*.[ch]
}

# The kernels for another architecture at least compile, where a compiler for it
# is installed.
cross_compile() {
	local file
	for file in src/distance/*.c; do
		"$1" -std=gnu99 -O2 -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
			-Wno-missing-field-initializers -Werror -fsyntax-only \
			-I src -I "$("$pg_config" --includedir-server)" "$file"
	done
}

stage_lint() {
	local clang cross=aarch64-linux-gnu-gcc
	cd "$root" || return
	clang=$(command -v clang || make_in_work -pn 2>/dev/null | sed -n 's/^CLANG = //p' | head -n 1)
	[ ! -x "$clang" ] ||
		check "build with clang" make_in_work clean all CC="$clang" COPT=-Werror
	! command -v "$cross" >/dev/null || check "compile for arm64" cross_compile "$cross"
	! command -v shellcheck >/dev/null ||
		check "shellcheck" shellcheck -x .ci/run test/run bench/quickstart
	check "includes run downward" includes_run_downward
	check "PG_VERSION_NUM only in src/compat.h" \
		none PG_VERSION_NUM --exclude=compat.h src
	check "buffers and WAL only in the page.c of an access method" \
		none '\b((Conditional)?LockBuffer|ReadBuffer(Extended)?|GenericXLog\w+|MarkBufferDirty)\(' \
		--exclude='*page.c' src
	check "no left-over markers" \
		none '\b(TOD[O]|FIXM[E]|XX[X])\b' src test bench sql docs
	check "tests wait for conditions" \
		none '\b(pg_)?sleep\b' test/t test/specs sql
}
