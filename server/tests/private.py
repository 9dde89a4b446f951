"""A server of a test's own, which the test may kill.  It loads the extensions from where
the server does that libpq's environment names, as EXTENSION_CONF tells, lines of a configuration,
or else the server itself; afterwards the environment names this one."""

import atexit
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import psycopg

FROM_THE_OTHER = ("extension_control_path", "extension_destdir", "dynamic_library_path")


class Server:
    def __init__(self, *settings):
        with psycopg.connect() as other:
            found = other.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", (list(FROM_THE_OTHER),)).fetchall()
            user = os.stat(other.info.host).st_uid
        self._as = {"user": user} if os.geteuid() == 0 else {}
        self._bindir = pathlib.Path(subprocess.check_output([os.environ["PG_CONFIG"], "--bindir"], text=True).strip())
        self._directory = tempfile.mkdtemp(prefix="piramid-", dir="/tmp")
        os.chmod(self._directory, 0o711)
        os.chown(self._directory, user, -1)
        self._data = f"{self._directory}/data"
        self.log = open(f"{self._directory}/log", "ab")
        subprocess.run([self._bindir / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"],
                       check=True, stdout=self.log, stderr=self.log, cwd="/", **self._as)
        # Only superusers are told where a server has its extensions from.
        if "EXTENSION_CONF" in os.environ:
            with open(f"{self._data}/postgresql.conf", "a") as conf:
                conf.write(pathlib.Path(os.environ["EXTENSION_CONF"]).read_text())
            found = []
        # What is killed are processes, not the machine: nothing has to be on the disk.
        self._settings = [f"{name}={value}" for name, value in found] + [
            "listen_addresses=", f"unix_socket_directories={self._directory}", "port=5432", "fsync=off", "jit=off", *settings]
        os.environ |= {"PGHOST": self._directory, "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": "postgres"}
        self._process = None
        self.start()
        atexit.register(self._end)

    def start(self):
        """Returns once it answers.  As long as a backend of one that was killed is there, the next refuses to start."""
        while True:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    [self._bindir / "postgres", "-D", self._data, *(word for setting in self._settings for word in ("-c", setting))],
                    stdout=self.log, stderr=self.log, cwd="/", **self._as)
            try:
                psycopg.connect(connect_timeout=10).close()
                return
            except psycopg.OperationalError:
                try:
                    self._process.wait(0.05)
                except subprocess.TimeoutExpired:
                    pass

    def kill(self):
        """The postmaster, which takes its backends with it as soon as they notice."""
        self._process.kill()
        self._process.wait()

    def said(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def _end(self):
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
