# shellcheck shell=bash
#
# server.sh: the stage "server" of test/run: the companion program, installed
# from its lock file, against one server.  Sourced by test/run; needs clients.sh.

stage_server() {
	client_chosen server || return 0
	[ -e "$work/extension.conf" ] || {
		say "this server loads no extension from outside the system: no companion program"
		return 0
	}
	mkdir -p "$work/clients"
	cp -R "$root/test/clients" "$work/clients/src"
	cp -R "$root/server" "$work/clients/server.src"
	start_clients_server
	INSTALLED=$work/install EXTENSION_CONF=$work/extension.conf run_client server "$work/clients/server.src/tests/run" 1800
	sed -n 's/^ok - \(.*\) # skip /  \1 skipped: /p' "$work/clients/server.log"
	stop_server
	no_crash server '' "$work/server.log"
	rm -rf "$work/clients"
}
