"""The command line: piramid-server worker --config FILE."""

import argparse
import logging
import signal
import sys

from . import __version__, config


def worker(args):
    from .worker import Worker

    try:
        running = Worker(config.read(args.config))
    except config.ConfigError as error:
        sys.exit(f"piramid-server: {error}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.stop())
    running.run()


def main():
    parser = argparse.ArgumentParser(prog="piramid-server", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("worker", help="embed what collections have queued, until SIGTERM")
    command.add_argument("--config", required=True, metavar="FILE", help="a TOML file; see server/README.md")
    command.set_defaults(run=worker)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    args.run(args)
