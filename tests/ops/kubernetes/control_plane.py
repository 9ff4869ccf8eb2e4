"""A Kubernetes API server on etcd, on loopback addresses and in a folder of its own."""

import http.client
import json
import pathlib
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
import urllib.request

import checks
from checks import call, eventually, must, paths, work


class Program:
    """A program that runs until it is stopped; it is stopped by its own process id."""

    def __init__(self, name: str, command: list, folder: pathlib.Path):
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                start_new_session=True,
            )

    def must_run(self) -> None:
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace")[-3000:]
            raise checks.Failed(f"{self.name} ended with {self.process.returncode}: {said}")

    def stop(self, seconds: float = 20) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def free_ports(count: int) -> list:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class ControlPlane:
    """The API server, how to speak to it, and what was started with it."""

    def __init__(self, address: str = "127.0.0.1"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="control-plane-", dir=work()))
        self.programs = []
        self.client_port, self.peer_port, self.port, self.manager_port, self.scheduler_port = (
            free_ports(5)
        )
        self.token = secrets.token_hex(16)
        self.address = address
        checks.at_the_end(self.stop)
        self._start()

    def start(self, name: str, *command) -> Program:
        program = Program(name, list(command), self.folder)
        self.programs.append(program)
        return program

    def _start(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.client_port, self.peer_port))
        self.start(
            "etcd", "etcd", "--data-dir", "etcd", "--listen-client-urls", client,
            "--advertise-client-urls", client, "--listen-peer-urls", peer,
            "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}",
            "--unsafe-no-fsync",
        )  # fmt: skip
        call("openssl", "genrsa", "-out", self.folder / "sa.key", "2048")
        (self.folder / "tokens.csv").write_text(f'{self.token},admin,1,"system:masters"\n')
        server = self.start(
            "kube-apiserver", paths()["kube-apiserver"], f"--etcd-servers={client}",
            f"--bind-address={self.address}", f"--advertise-address={self.address}",
            f"--secure-port={self.port}", "--cert-dir=certs",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key",
            "--authorization-mode=Node,RBAC", "--token-auth-file=tokens.csv",
            "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
        )  # fmt: skip
        self.config = self.folder / "kubeconfig"
        self.config.write_text(
            "apiVersion: v1\nkind: Config\n"
            "clusters: [{name: test, cluster: {insecure-skip-tls-verify: true, "
            f"server: 'https://{self.address}:{self.port}'}}}}]\n"
            f"users: [{{name: admin, user: {{token: '{self.token}'}}}}]\n"
            "contexts: [{name: test, context: {cluster: test, user: admin}}]\n"
            "current-context: test\n"
        )

        def is_ready():
            server.must_run()
            return self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok"

        eventually("the API server is ready", is_ready, 90)

    def kubectl(self, *arguments, **options) -> subprocess.CompletedProcess:
        env = {"KUBECONFIG": str(self.config), "HOME": str(self.folder)}
        return call(paths()["kubectl"], *arguments, env=env, **options)

    def raw(self, path: str) -> str | None:
        """What the API server answers to a path; nothing where that is no success. Much less work
        than a process of kubectl, for what is asked all the time."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(
            f"https://{self.address}:{self.port}{path}",
            headers={"Authorization": f"Bearer {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:
                return answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException):
            return None

    def helm(self, *arguments, **options) -> subprocess.CompletedProcess:
        import level0

        env = {"KUBECONFIG": str(self.config)}
        return level0.helm(*arguments, env=env, **options)

    def get(self, *arguments) -> dict:
        """An object, or a list of them, as kubectl gives it."""
        return json.loads(self.kubectl("get", *arguments, "--output=json").stdout)

    def namespace(self, name: str, level: str = "restricted") -> None:
        """A namespace that enforces a pod security standard, and warns of what breaks it."""
        self.kubectl("create", "namespace", name)
        standard = "pod-security.kubernetes.io"
        self.kubectl(
            "label", "namespace", name, f"{standard}/enforce={level}", f"{standard}/warn={level}"
        )

    def stop(self) -> None:
        # The last that was started first: without etcd the API server would not end.
        for program in reversed(self.programs):
            program.stop()
        must(
            all(program.process.poll() is not None for program in self.programs),
            "a program of the control plane still runs",
        )
