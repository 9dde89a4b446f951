# shellcheck shell=bash
#
# lint.sh: what can be checked without a server.  Sourced by test/run; needs
# stages.sh.

# none PATTERN WHERE...: fail, showing them, if lines match.
none() {
	! grep -rnHIE -e "$@"
}

# src/README.md: includes run downward only, and each directory has its place.
includes_run_downward() {
	awk -v directories="$(cd src && echo */)" '
		BEGIN {
			rank["type"] = 1; rank["page"] = 1; rank["chunk"] = 1; rank["statement"] = 1; rank["distance"] = 2; rank["collection"] = 2
			rank["quant"] = 3
			rank["partition"] = 3; rank["check"] = 3; rank["hnsw"] = 4; rank["bm25"] = 4
			n = split(directories, directory, "/ ?")
			for (i = 1; i < n; i++) {
				ours[directory[i]] = 1
				if (!(directory[i] in rank)) {
					print "src/" directory[i] " has no place in the order"
					bad = 1
				}
			}
		}
		match($0, /^#include "[a-z0-9]+\//) {
			split(FILENAME, path, "/")
			to = substr($0, RSTART + 10, RLENGTH - 11)
			if (path[3] != "" && to in ours && to != path[2] && rank[to] >= rank[path[2]]) {
				print FILENAME ": " $0
				bad = 1
			}
		}
		END { exit bad }' src/*.[ch] src/*/*.[ch]
}

# The README of the index is read in one sitting, those beside the code in a narrow window.
readmes_are_readable() {
	awk -v most=3000 '
		FILENAME == "src/hnsw/README.md" { words += NF }
		length > 100 && !/^\|/ {
			print FILENAME ":" FNR ": more than 100 characters"
			bad = 1
		}
		END {
			if (words > most) {
				print "src/hnsw/README.md has " words " words, more than " most
				bad = 1
			}
			exit bad
		}' src/README.md src/*/*.md compat/README.md
}

# No test sleeps, but for wait_until() of Piramid.pm, between two looks.
tests_wait_for_conditions() {
	local pattern='\b((pg_|u|nano)?sleep|select *\( *undef)\b'
	none "$pattern" test/t test/specs test/clients sql --exclude=Piramid.pm --exclude=lint.sh test/lib &&
		[ "$(grep -cE "$pattern" test/lib/Piramid.pm)" = 2 ]
}

house_sizes() {
	find src test bench .ci compat sql server -type f \( -name '*.[ch]' -o -name '*.p[lmy]' -o -name '*.sh' -o -name run \) \
		! -path '*/node_modules/*' -print0 | sort -z | xargs -0 perl test/lib/sizes.pl
}

stage_lint() {
	local clang
	cd "$root" || return
	clang=$(command -v clang || make_in_work -pn 2>/dev/null | sed -n 's/^CLANG = //p' | head -n 1)
	[ ! -x "$clang" ] ||
		check "build with clang" make_in_work clean all CC="$clang" \
			COPT="-Werror -Wno-ignored-optimization-argument -Wno-unknown-warning-option -Wno-ignored-attributes"
	! command -v shellcheck >/dev/null ||
		check "shellcheck" shellcheck -x -P .:SCRIPTDIR .ci/run test/run bench/quickstart compat/install \
			test/clients/quotes test/clients/*/run test/packages/run test/packages/docker debian/build \
			server/install server/quickstart server/tests/run
	check "includes run downward" includes_run_downward
	check "files, functions and lists of parameters are short" house_sizes
	check "few files ask which metric it is" perl test/lib/metrics.pl
	check "calls and includes inside src/hnsw run downward" perl test/lib/tiers.pl src/hnsw/README.md
	check "calls and includes inside src/chunk run downward" perl test/lib/tiers.pl src/chunk/README.md
	check "calls and includes inside src/collection run downward" perl test/lib/tiers.pl src/collection/README.md
	check "calls and includes inside src/bm25 run downward" perl test/lib/tiers.pl src/bm25/README.md bm25.h
	check "READMEs are short, and their lines" readmes_are_readable
	check "links in Markdown lead somewhere" perl test/lib/links.pl ./*.md {bench,compat,docs,server,src,test}/*.md \
		{bench,sql,src,test}/*/*.md
	check "PG_VERSION_NUM only in src/compat.h" \
		none PG_VERSION_NUM --exclude=compat.h src
	check "buffers and WAL only in the *_page.c files" \
		none '\b((Conditional)?LockBuffer\w*|(Unlock)?Release(AndRead)?Buffer|(Read|Prefetch|Extend)\w*Buffer\w*|MarkBufferDirty\w*|GenericXLog\w+|XLog(Begin)?(Insert|Register\w+)|log_newpage\w*)\(' \
		--exclude='*_page.c' --exclude=compat.h src
	check "docs/clients.md quotes the tests" test/clients/quotes --check
	check "no left-over markers" \
		none '\b(TOD[O]|FIXM[E]|XX[X])\b' src test bench sql docs
	check "tests wait for conditions" tests_wait_for_conditions
}
