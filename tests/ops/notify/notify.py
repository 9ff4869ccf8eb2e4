"""Notifications to the real Alertmanager, which understands them."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import Failed, Group

THEATRE = os.environ["THEATRE_BIN"]
# It notifies no one: what it knows is asked for.
CONFIG = """
route: {receiver: none}
receivers: [{name: none}]
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def alertmanager(folder, address):
    """An Alertmanager that answers."""
    (folder / "alertmanager.yaml").write_text(CONFIG)
    with open(folder / "alertmanager.log", "ab") as log:
        process = subprocess.Popen(
            [
                "alertmanager",
                f"--config.file={folder}/alertmanager.yaml",
                f"--storage.path={folder}/alertmanager",
                f"--web.listen-address={address}",
                "--cluster.listen-address=",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://{address}/-/ready", timeout=5).read()
                break
            if time.monotonic() > until or process.poll() is not None:
                raise Failed((folder / "alertmanager.log").read_text())
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def firing(address):
    """The labels of what fires, by condition."""
    url = f"http://{address}/api/v2/alerts?active=true"
    with urllib.request.urlopen(url, timeout=10) as answer:
        alerts = json.load(answer)
    for alert in alerts:
        assert alert["annotations"]["message"], alert
        assert alert["status"]["state"] == "active", alert
    found = sorted(alert["labels"]["condition_id"] for alert in alerts)
    assert len(found) == len(set(found)), f"a condition fires twice: {alerts}"
    return {alert["labels"]["condition_id"]: alert["labels"] for alert in alerts}


class Fleet:
    """A simulated fleet on a data directory."""

    def __init__(self, folder, sections):
        self.folder = folder
        self.config = folder / "theatre.toml"
        self.config.write_text(sections)

    def theatre(self, *arguments):
        common = ["--data", self.folder / "data", "--config", self.config]
        ran = subprocess.run(
            [THEATRE, *common, "--admin", "127.0.0.1:0", "--output", "json", *arguments],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if ran.returncode != 0:
            raise Failed(f"theatre {arguments}: {ran.stdout}{ran.stderr}")
        return json.loads(ran.stdout) if ran.stdout.strip() else None

    def go_on(self, ticks):
        self.theatre("simulate", "--robots", "12", "--ticks", str(ticks))
        self.theatre("run", "--until-drained")

    def open(self):
        found = self.theatre("alerts", "list")
        return sorted((one["robot_id"], one["rule_id"], one["priority"]) for one in found)


def labelled(firing):
    return sorted(
        (labels["robot_id"], labels["alertname"], labels["priority"]) for labels in firing.values()
    )


def compared(fleet, address):
    wanted, found = fleet.open(), labelled(firing(address))
    assert wanted == found, f"open: {wanted}\nfires: {found}"
    return set(found)


def main():
    group = Group("notify")
    with tempfile.TemporaryDirectory(prefix="theatre-notify-") as name:
        folder = pathlib.Path(name)
        address = f"127.0.0.1:{free_port()}"
        section = f'[[notify]]\nname = "am"\nkind = "alertmanager"\nurl = "http://{address}"\n'
        fleet = Fleet(folder, section)
        with alertmanager(folder, address):
            with group.test("a_test_message_fires"):
                fleet.theatre("notify", "test", "am")
                tests = [labels["alertname"] for labels in firing(address).values()]
                assert tests == ["theatre_notify_test"], tests
        # Anew: alerts are in its memory only.
        with alertmanager(folder, address):
            with group.test("what_is_open_fires_and_what_is_cleared_does_not"):
                seen = set()
                for ticks in [200, 400, 600, 900, 1200]:
                    fleet.go_on(ticks)
                    seen |= compared(fleet, address)
                assert seen, "nothing was ever open"
                history = fleet.theatre("alerts", "history", "--limit", "0")
                ended = [one for one in history if one["transition"] == "cleared"]
                assert ended, "nothing was ever cleared"
                undelivered = fleet.theatre("notify", "list")
                assert undelivered == [], undelivered
    return group.close()


if __name__ == "__main__":
    sys.exit(main())
