"""The configuration: a TOML file.  Addresses and keys of providers stand here, or in
the environment, and never in the database."""

import json
import os
import tomllib
from dataclasses import dataclass, field

from .model import default_directory


class ConfigError(Exception):
    """What is wrong with the configuration, as a sentence for its author."""


@dataclass(frozen=True)
class Provider:
    name: str
    type: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    timeout: float = 60.0
    requests_per_minute: float = 0.0
    concurrency: int = 0        # as the worker's threads
    path: str = ""
    threads: int = 1


@dataclass(frozen=True)
class Worker:
    databases: tuple
    providers: dict
    threads: int = 2
    lease: float = 120.0
    poll: float = 5.0


def _take(table, where, **kinds):
    """The values of a table, each of its kind; nothing that is unknown."""
    unknown = sorted(set(table) - set(kinds))
    if unknown:
        raise ConfigError(f"{where}: unknown {', '.join(unknown)}; there are {', '.join(kinds)}")
    for name, value in table.items():
        wanted = (int, float) if kinds[name] is float else kinds[name]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(f"{where}: {name} is of the wrong type")
        if name in ("threads", "concurrency") and value < 1:
            raise ConfigError(f"{where}: {name} is at least 1")
        if kinds[name] is float and not 0 <= value < 1e6 or name in ("timeout", "lease", "poll") and value == 0:
            raise ConfigError(f"{where}: {name} is more than 0, and less than a million")
    return table


def _provider(name, table):
    where = f"providers.{name}"
    if table.get("type") == "local":
        table = dict(_take(table, where, type=str, path=str, threads=int, concurrency=int))
        table.setdefault("path", str(default_directory()))
        return Provider(name=name, **table)
    table = dict(_take(table, where, type=str, base_url=str, api_key_env=str, timeout=float,
                       requests_per_minute=float, concurrency=int))
    if table.get("type") not in ("openai", "ollama"):
        raise ConfigError(f'{where}: type is "openai", "ollama" or "local"')
    if not table.get("base_url", "").startswith(("http://", "https://")):
        raise ConfigError(f"{where}: base_url begins with http:// or https://")
    variable = table.pop("api_key_env", None)
    if variable is not None and variable not in os.environ:
        raise ConfigError(f"{where}: the environment has no {variable}")
    return Provider(name=name, api_key=os.environ.get(variable or "", ""), **table)


def quote(text):
    """A text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False)


def read(path):
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    _take(table, path, worker=dict, providers=dict)
    worker = dict(_take(table.get("worker", {}), "worker", databases=list, threads=int, lease=float, poll=float))
    databases = worker.pop("databases", [])
    if not databases or not all(isinstance(d, str) for d in databases):
        raise ConfigError("worker: databases is a list of connection strings")
    providers = {name: _provider(name, t) for name, t in table.get("providers", {}).items()}
    if not providers:
        raise ConfigError("there are no providers")
    return Worker(databases=tuple(databases), providers=providers, **worker)
