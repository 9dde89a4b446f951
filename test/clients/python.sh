# shellcheck shell=bash
#
# python.sh: what the Python clients' "run" scripts share.  To be sourced after
# common.sh.  Tests are pytest's; pytest_tap.py turns their outcome into TAP.

clients=$(cd .. && pwd)
failed=0

# The folder's requirements.txt in a virtual environment, kept in the cache for
# as long as the file is the same.
make_venv() {
	local base=${PYTHON:-python3} venv
	need "$base"
	at_least Python "$("$base" -c 'import platform; print(platform.python_version())')" 3.11
	venv=${PIRAMID_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/piramid}/clients/$(basename "$PWD")
	python=$venv/bin/python
	if ! cmp -s requirements.txt "$venv/requirements.txt" || ! "$python" -c '' 2>/dev/null; then
		mkdir -p "$(dirname "$venv")"
		"$base" -m venv --clear "$venv" >"$WORK/venv.log" 2>&1 || skip "$base has no venv"
		# The file names every package, so there is nothing to resolve.
		fetch "$python" -m pip install --no-deps --no-compile --disable-pip-version-check \
			-r requirements.txt
		"$python" -m pip check >&2
		cp requirements.txt "$venv/requirements.txt"
	fi
}

# source_tests PACKAGE: the tests in the package's source distribution, in the
# version that requirements.txt names, unpacked to $suite.
source_tests() {
	local version
	version=$(sed -n "s/^$1==//p" requirements.txt)
	fetch "$python" -m pip download --no-deps --no-binary :all: --disable-pip-version-check \
		--dest "$WORK/source" "$1==$version"
	tar -xzf "$WORK/source/"*.tar.gz -C "$WORK/source"
	suite=$(echo "$WORK"/source/*-"$version"/)
}

# pgvector_suite: go to pgvector-python's own tests, in the version pinned.  They
# use a database of a fixed name.
pgvector_suite() {
	source_tests pgvector
	create_database pgvector_python_test
	cp "$clients/pgvector_suite.py" "$suite/tests/conftest.py"
	touch "$suite/tests/__init__.py"
	cd "$suite"
}

# run_pytest ARGUMENT...: may be called several times.
run_pytest() {
	local status=0
	PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$clients \
		"$python" -m pytest -p pytest_tap -p no:terminal -p no:cacheprovider "$@" |
		tee -a "$WORK/tap" || status=$?
	[ "$status" -eq 0 ] || failed=1
	# 1: tests failed and said so; else there was none, or pytest itself failed
	[ "$status" -le 1 ] ||
		printf 'not ok - pytest ended with status %d: %s\n' "$status" "$*" | tee -a "$WORK/tap"
}

# The plan, and the status of all tests.
finish() {
	printf '1..%d\n' "$(grep -cE '^(not )?ok ' "$WORK/tap")"
	exit "$failed"
}
