"""The PostgreSQL installation and the private server of a benchmark.

The server comes from a chroot (so that the peer is the distribution's own
package, whatever this machine has) or from a local installation.  The chroot
is only the lower layer of an overlay in a mount namespace of this process:
what is installed into it here nobody else sees, and nobody else's
installation changes a server that is being measured.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ["PIRAMID_CACHE"])
IN_NAMESPACE = "PIRAMID_BENCH_NAMESPACE"
PACKAGES = ("ca-certificates,build-essential,postgresql-17,"
            "postgresql-server-dev-17,postgresql-17-pgvector")


def enter_namespace():
    """Start over in a mount namespace of our own."""
    if IN_NAMESPACE not in os.environ:
        os.environ[IN_NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable] + sys.argv)


class Installation:
    """Runs programs of one PostgreSQL installation."""

    def __init__(self, work, pg_config=None, chroot=None):
        self.work = Path(work).absolute()
        self.files = self.work / "files"     # what the server's side sees
        self.chroot = None
        self.files.mkdir(parents=True, exist_ok=True)
        self.lock = open(self.work / "lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another run is using {self.work}")
        if pg_config:
            self.pg_config = pg_config
        else:
            self.pg_config = "/usr/bin/pg_config"
            self._mount(Path(chroot))
        self.bindir = self.output([self.pg_config, "--bindir"])
        if os.geteuid() == 0:
            self.run(["chown", "postgres:", self.inside(self.files)], user="root")

    def _mount(self, lower):
        if os.geteuid() != 0:
            raise SystemExit("the chroot needs root; name an installation with --pg-config instead")
        if not (lower / "usr/bin/pg_config").exists():
            raise SystemExit(f"there is no PostgreSQL in {lower}; make it with\n"
                             f"  debootstrap --variant=minbase --include={PACKAGES} trixie {lower}\n"
                             "or name an installation with --pg-config")
        self.chroot = self.work / "root"
        layers = [self.work / "overlay" / d for d in ("upper", "work")]
        for layer in layers:
            shutil.rmtree(layer, ignore_errors=True)
            layer.mkdir(parents=True)
        self.chroot.mkdir(exist_ok=True)

        def mount(*args):
            subprocess.run(["mount", *map(str, args)], check=True)

        mount("-t", "overlay", "overlay", "-o",
              f"lowerdir={lower},upperdir={layers[0]},workdir={layers[1]}", self.chroot)
        mount("-t", "proc", "proc", self.chroot / "proc")
        mount("--bind", "/dev/shm", self.chroot / "dev/shm")
        (self.chroot / "bench").mkdir()
        mount("--bind", self.files, self.chroot / "bench")

    def inside(self, path):
        """The path by which the server's side knows a file below files/."""
        if self.chroot:
            return str(Path("/bench") / Path(path).relative_to(self.files))
        return str(path)

    def command(self, args, user="postgres"):
        args = [str(a) for a in args]
        if self.chroot:
            return ["chroot", f"--userspec={user}:{user}", str(self.chroot), "/usr/bin/env", "-i",
                    "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LANG=C.UTF-8", *args]
        if os.geteuid() == 0 and user != "root":
            return ["runuser", "-u", user, "--", *args]
        return args

    def run(self, args, user="postgres", **options):
        """Run a program; its output is shown only if it fails."""
        done = subprocess.run(self.command(args, user), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", **options)
        if done.returncode != 0:
            raise SystemExit(f"failed: {' '.join(map(str, args))}\n{done.stdout[-4000:]}")
        return done.stdout

    def output(self, args):
        return subprocess.run(self.command(args), check=True, text=True, cwd="/",
                              stdout=subprocess.PIPE).stdout.strip()

    def popen(self, args):
        return subprocess.Popen(self.command(args), text=True, bufsize=1, cwd="/",
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def build_client(self):
        """Compile qps.c beside the server that it will ask."""
        source = self.files / "qps.c"
        program = self.files / "qps"
        shutil.copy(ROOT / "bench/lib/qps.c", source)
        flags = [f"-I{self.output([self.pg_config, '--includedir'])}",
                 f"-L{self.output([self.pg_config, '--libdir'])}"]
        self.run(["cc", "-O2", "-Wall", "-Wextra", "-o", self.inside(program),
                  self.inside(source), *flags, "-lpq", "-lpthread"], user="root")
        return self.inside(program)

    def install_piramid(self):
        """Build the checkout in a copy and install it."""
        build = self.files / "build"
        build.mkdir(exist_ok=True)
        tracked = [p for pattern in ("Makefile", "*.control", "compat/*", "sql/*.sql", "sql/collections/*", "src/**/*.[ch]")
                   for p in ROOT.glob(pattern)]
        wanted = {p.relative_to(ROOT) for p in tracked}
        for stale in build.glob("**/*.[cho]"):
            if stale.relative_to(build).with_suffix(".c") not in wanted and \
               stale.relative_to(build) not in wanted:
                stale.unlink()
        for name in wanted:
            target = build / name
            if not target.exists() or target.read_bytes() != (ROOT / name).read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)
        make = ["make", "-s", "-C", self.inside(build), f"PG_CONFIG={self.pg_config}", "with_llvm=no"]
        print("building piramid", file=sys.stderr)
        self.run([*make, f"-j{min(2, os.cpu_count())}"], user="root")
        self.run([*make, "install"], user="root")


def huge_pages(need):
    """Make sure of `need` free huge pages; returns how many to give back, or
    None where the kernel does not have them for us."""
    setting = Path("/proc/sys/vm/nr_hugepages")

    def free():
        # Pages that another server has reserved and not touched yet count as
        # free, and are not.
        count = {line.split()[0]: int(line.split()[1])
                 for line in Path("/proc/meminfo").read_text().splitlines()
                 if line.startswith("HugePages_")}
        return count.get("HugePages_Free:", 0) - count.get("HugePages_Rsvd:", 0)

    missing = need - free()
    if missing <= 0:
        return 0
    try:
        before = int(setting.read_text())
        setting.write_text(str(before + missing))
    except OSError:
        return None
    if free() < need:
        setting.write_text(str(before))
        return None
    return missing


class Server:
    """One cluster below work/files, started with the settings of a run."""

    def __init__(self, installation, settings, name="cluster"):
        self.installation = installation
        self.settings = dict(settings)
        self.data = installation.files / name
        self.socket = installation.files / "socket"
        self.borrowed_pages = 0
        if len(str(self.socket)) > 85:
            raise SystemExit(f"the path of {self.socket} is too long for a socket: use --work-dir")

    def pg(self, program, *args):
        bindir = self.installation.bindir
        return self.installation.run([f"{bindir}/{program}", *args])

    def pg_ctl(self, *args):
        return self.pg("pg_ctl", "-D", self.installation.inside(self.data), "-w", "-t", "600", *args)

    def exists(self):
        return (self.data / "PG_VERSION").exists()

    def remove(self):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def create(self):
        self.pg("initdb", "-D", self.installation.inside(self.data), "-A", "trust",
                "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write("include 'bench.conf'\n")

    def _configure(self, huge):
        lines = {**self.settings, "huge_pages": huge}
        text = "".join(f"{name} = '{value}'\n" for name, value in lines.items())
        (self.data / "bench.conf").write_text(text)

    def start(self):
        """Start, on huge pages where there are enough of them."""
        inside = self.installation.inside(self.data)
        self.stop()
        self.installation.run(["mkdir", "-p", self.installation.inside(self.socket)])
        self.settings.update(listen_addresses="",
                             unix_socket_directories=self.installation.inside(self.socket))
        self._configure("off")
        need = self.installation.output([f"{self.installation.bindir}/postgres", "-D", inside,
                                         "-C", "shared_memory_size_in_huge_pages"])
        borrowed = huge_pages(int(need)) if int(need) > 0 else None
        if borrowed is None:
            print("note: no huge pages for shared_buffers; all systems run without", file=sys.stderr)
        self.borrowed_pages = borrowed or 0
        self._configure("off" if borrowed is None else "on")
        log = self.data / "server.log"
        # The server keeps its log open: no pipe of ours may reach it.
        command = self.installation.command([f"{self.installation.bindir}/pg_ctl", "-D", inside, "-w",
                                             "-t", "600", "-l", self.installation.inside(log), "start"])
        if subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode:
            tail = log.read_text()[-4000:] if log.exists() else ""
            raise SystemExit(f"the server did not start:\n{tail}")

    def pid(self):
        """The process that the lock file names."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def running(self):
        """Whether that process is a server."""
        try:
            return Path(f"/proc/{self.pid()}/comm").read_text().strip() == "postgres"
        except (OSError, ValueError, IndexError):
            return False

    def stop(self):
        if self.running():
            self.pg_ctl("-m", "fast", "stop")
        if self.borrowed_pages:
            setting = Path("/proc/sys/vm/nr_hugepages")
            setting.write_text(str(max(0, int(setting.read_text()) - self.borrowed_pages)))
            self.borrowed_pages = 0

    def conninfo(self, database, inside=False):
        socket = self.installation.inside(self.socket) if inside else self.socket
        return f"host={socket} user=postgres dbname={database}"

    def connect(self, database):
        # the client programs of a sweep may discard what psycopg prepares
        return psycopg.connect(self.conninfo(database), autocommit=True, prepare_threshold=None)
