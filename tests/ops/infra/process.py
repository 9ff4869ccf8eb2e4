"""A task of ECS started as a process of this machine: its commands, its variables, its secrets, its
health command. What it cannot have here are servers with IAM: those of `theatre dev up` are in
their place, and the variables that ask for IAM are left out."""

import contextlib
import os
import pathlib
import signal
import subprocess
import tomllib
import urllib.error
import urllib.request

import programs
from harness import eventually, must, run

# Where the tasks have their volume.
VOLUME = "/var/lib/theatre"
# What asks for TLS and IAM, which the servers here have not.
OF_AWS = {"LOG__SECURITY", "LOG__REGION", "STORE__AUTH", "STORE__REGION", "STORE__CA_FILE"}
# Ports of the admin server and of the HTTP interface in a task, and such as are free here.
FREE = "9864"
PORTS = {":9464": f":{FREE}", ":8080": ":8864"}


def program(folder):
    """The program: that of THEATRE_OPS_PROGRAMS, or the one that the tests have built."""
    there = os.environ.get("THEATRE_OPS_PROGRAMS")
    if there is None:
        programs.programs(["theatre", "redshift-local", "object-store"], folder)
    return pathlib.Path(there or folder) / "theatre"


class Servers:
    """The servers of `theatre dev up`, and the variables that name them."""

    def __init__(self, theatre, folder):
        self.command = [theatre, "--data", pathlib.Path(folder) / "servers", "dev"]

    def __enter__(self):
        run(*self.command, "up")
        there = self.command[2] / "dev"
        tables = tomllib.loads((there / "theatre.toml").read_text())
        self.variables = {
            f"THEATRE__{table}__{key}".upper(): str(there / value)
            if key == "credentials_file"
            else str(value).lower()
            for table, pairs in tables.items()
            if isinstance(pairs, dict)
            for key, value in pairs.items()
        }
        return self

    def __exit__(self, *_):
        run(*self.command, "down")


class Task:
    """A task of ECS with its volume in a folder; `container` is the one that runs theatre."""

    def __init__(self, aws, family, folder, theatre, container="theatre"):
        found = aws("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]
        self.aws, self.volume, self.theatre = aws, pathlib.Path(folder) / "volume", theatre
        self.containers = {each["name"]: each for each in found["containerDefinitions"]}
        self.container = self.containers[container]
        self.volume.mkdir(mode=0o700)

    def here(self, text):
        """A text of the definition with the folder in place of the volume, and ports of here."""
        text = text.replace(VOLUME, str(self.volume))
        for there, here in PORTS.items():
            text = text.replace(there, here)
        return text

    def variables(self, servers=None):
        """Variables of the process; with those of servers that are here, if there are any."""
        pairs = {each["name"]: each["value"] for each in self.container["environment"]}
        given = {name: self.here(value) for name, value in pairs.items()}
        if servers:
            left_out = {f"THEATRE__{name}" for name in OF_AWS}
            given = {name: value for name, value in given.items() if name not in left_out}
            given |= servers.variables
        return {"PATH": os.environ["PATH"], **given}

    def write_files(self, authorities):
        """Does what the container before the process does, with its secrets; infra/deploy gives the
        one with the authorities its value."""
        container = self.containers["files"]
        manager = self.aws("secretsmanager")
        sources = {each["name"]: each["valueFrom"] for each in container["secrets"]}
        manager.put_secret_value(SecretId=sources["STORE_AUTHORITIES"], SecretString=authorities)
        secrets = {
            name: manager.get_secret_value(SecretId=source)["SecretString"]
            for name, source in sources.items()
        }
        command = [*container["entryPoint"], *container["command"]]
        run(*command, cwd=self.volume, env={"PATH": os.environ["PATH"], **secrets})

    def check(self):
        """`theatre config check` with all variables, as they are."""
        command = [self.theatre, "config", "check"]
        return run(*command, cwd=self.volume, env=self.variables(), check=False)

    def does(self, servers, *words, **more):
        """A command of theatre in the task, as infra/job runs it, with more variables."""
        command = [self.theatre, f"--data={self.volume}/data", *words]
        return run(*command, cwd=self.volume, env={**self.variables(servers), **more})

    @contextlib.contextmanager
    def started(self, servers):
        """The process, and the health command of the task as a function."""
        container = self.container
        environment = self.variables(servers)
        with open(self.volume.parent / "log", "w") as log:
            process = subprocess.Popen(
                [self.theatre, *(self.here(word) for word in container["command"])],
                cwd=self.volume,
                env=environment,
                stdout=log,
                stderr=log,
            )
            kind, name, *rest = container["healthCheck"]["command"]
            must((kind, name) == ("CMD", "theatre"), "the health command is another")
            try:
                yield process, lambda: run(
                    self.theatre, *rest, cwd=self.volume, env=environment, check=False
                )
            finally:
                process.kill()
                process.wait()

    def stop(self, process):
        """Ends it as ECS does; its exit code."""
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=self.container["stopTimeout"])


def ready():
    """What /readyz answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{FREE}/readyz", timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def runs_as_it_is(task, servers):
    """The process is alive by its health command, ready, does its work, and ends when it is asked
    to. What comes before it is what `infra/job setup` does."""
    for words in (["migrate"], ["topics", "create"], ["migrate", "--warehouse"]):
        task.does(servers, *words)
    with task.started(servers) as (process, health):
        must(health().returncode != 0, "it was healthy before it could be")
        eventually("the health command is content", lambda: health().returncode == 0)
        eventually("it is ready", lambda: ready() == 200)
        # The simulator keeps its place in a topic of its own.
        more = {"THEATRE__LOG__CREATE_TOPICS": "true"}
        task.does(servers, "simulate", "--robots", "5", "--ticks", "300", **more)
        listed = lambda: task.does(servers, "robots", "list").stdout  # noqa: E731
        eventually("all robots are known", lambda: "robot-0004" in listed())
        log = (task.volume.parent / "log").read_text()
        must(log.startswith("{"), f"the log is no JSON: {log[:200]}")
        code = task.stop(process)
        must(code == 0, f"it ended with {code}")
        must(health().returncode != 0, "it is healthy although it has ended")
