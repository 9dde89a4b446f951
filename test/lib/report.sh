# shellcheck shell=bash
#
# report.sh: what a run has found: one line "VERSION STAGE PASSED FAILED SECONDS"
# for each stage.  Sourced by test/run and .ci/run.

# report TOTAL: a table of seconds from such lines, the total that it took, and
# the sum of passed and failed.  Fails if a test failed or none passed.
report() {
	awk -v total="$1" '
		NF == 5 {
			if (!($1 in versions)) { versions[$1]; version[++nversions] = $1 }
			if (!($2 in stages)) { stages[$2]; stage[++nstages] = $2 }
			passed += $3
			failed += $4
			seconds[$1, $2] += $5
			sum[$1] += $5
		}
		END {
			printf "seconds   "
			for (v = 1; v <= nversions; v++)
				printf " %6s", version[v]
			print ""
			for (s = 1; s <= nstages; s++) {
				printf "%-10s", stage[s]
				for (v = 1; v <= nversions; v++)
					printf " %6s", ((version[v], stage[s]) in seconds ? seconds[version[v], stage[s]] : "-")
				print ""
			}
			printf "%-10s", "sum"
			for (v = 1; v <= nversions; v++)
				printf " %6d", sum[version[v]]
			printf "\ntook %d s\n%d passed, %d failed\n", total, passed, failed
			exit failed > 0 || passed == 0
		}'
}
