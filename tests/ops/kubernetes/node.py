"""The one node of the tests: container runtime, kubelet and what else makes a cluster of it.

Only as root, on Linux; tried with cgroups v1. The kubelet listens on an address of a bridge of its own, so
nothing outside of this machine reaches it. What these programs leave in the machine's network is
removed at the end.
"""

import json
import os
import pathlib
import subprocess
import threading
import time

import checks
from control_plane import ControlPlane, free_ports
from checks import ROOT, call, eventually, must, paths, work
from harness import cache
from programs import programs

BRIDGE, ADDRESS = "theatre-node", "10.250.0.1"
PODS, GATEWAY = "10.244.0.0/24", "10.244.0.1"
PAUSE = "theatre-tests/pause:1"
# As deployed by the tests; the images of Kafka and PostgreSQL are named by compose.yaml, too.
THEATRE = "theatre:tests"
SERVERS = {"kafka": "apache/kafka:4.1.0", "postgres": "postgres:17"}


class Node:
    """A control plane whose one node runs pods."""

    def __init__(self):
        must(os.geteuid() == 0, "pods can only be run as root")
        self.folder = work() / "node"
        self.folder.mkdir()
        self.socket = self.folder / "containerd.sock"
        self.is_ending = threading.Event()
        checks.at_the_end(self.remove_traces)
        images = save_images()
        self.plane = ControlPlane()
        checks.at_the_end(self.stop)
        self._network()
        self._runtime(images)
        self._programs()

    def _network(self) -> None:
        call("ip", "link", "add", BRIDGE, "type", "bridge")
        call("ip", "address", "add", f"{ADDRESS}/32", "dev", BRIDGE)
        call("ip", "link", "set", BRIDGE, "up")
        cni = self.folder / "cni"
        cni.mkdir()
        bridge = {
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": True,
            "ipMasq": True,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": str(self.folder / "ipam"),
            },
        }
        # A container engine on this machine has the kernel drop what is forwarded: so pods are let
        # through by name.
        firewall = {"type": "firewall", "backend": "iptables"}
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        network = {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, firewall, portmap]}
        (cni / "10-bridge.conflist").write_text(json.dumps(network))

    def _runtime(self, images: pathlib.Path) -> None:
        (self.folder / "containerd.toml").write_text(
            "version = 2\n"
            f'root = "{self.folder}/containerd"\nstate = "{self.folder}/state"\n'
            f'[grpc]\naddress = "{self.socket}"\n'
            '[plugins."io.containerd.grpc.v1.cri"]\n'
            f'sandbox_image = "docker.io/{PAUSE}"\n'
            "restrict_oom_score_adj = true\ndisable_apparmor = true\n"
            '[plugins."io.containerd.grpc.v1.cri".cni]\n'
            f'bin_dir = "/usr/lib/cni"\nconf_dir = "{self.folder}/cni"\n'
        )
        runtime = self.plane.start(
            "containerd", "containerd", "--config", self.folder / "containerd.toml"
        )

        def answers():
            runtime.must_run()
            return self.ctr("version", check=False).returncode == 0

        eventually("containerd answers", answers, 30)
        self.ctr("images", "import", "--no-unpack", images, timeout=300)

    def ctr(self, *arguments, **options):
        return call(
            "ctr", "--address", self.socket, "--namespace", "k8s.io", *arguments, **options
        )

    def _programs(self) -> None:
        plane, programs = self.plane, pathlib.Path(paths()["node"])
        config = f"--kubeconfig={plane.config}"
        ways = [config, f"--authentication-{config[2:]}", f"--authorization-{config[2:]}"]
        plane.start(
            "kube-controller-manager", programs / "kube-controller-manager", *ways,
            "--service-account-private-key-file=sa.key", "--root-ca-file=certs/apiserver.crt",
            "--bind-address=127.0.0.1", f"--secure-port={plane.manager_port}",
            "--leader-elect=false",
        )  # fmt: skip
        plane.start(
            "kube-scheduler", programs / "kube-scheduler", *ways, "--bind-address=127.0.0.1",
            f"--secure-port={plane.scheduler_port}", "--leader-elect=false",
        )  # fmt: skip
        kubelet_port, health_port, metrics_port = free_ports(3)
        (self.folder / "resolv.conf").write_text("")
        write_config(
            self.folder / "kubelet.yaml",
            "kubelet.config.k8s.io/v1beta1",
            "KubeletConfiguration",
            {
                "address": ADDRESS,
                "port": kubelet_port,
                "healthzPort": 0,
                "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
                "authorization": {"mode": "AlwaysAllow"},
                "cgroupDriver": "cgroupfs",
                "cgroupRoot": "/",
                "enforceNodeAllocatable": [],
                "failCgroupV1": False,
                "failSwapOn": False,
                "oomScoreAdj": 0,
                "containerRuntimeEndpoint": f"unix://{self.socket}",
                "clusterDNS": [GATEWAY],
                "clusterDomain": "cluster.local",
                "resolvConf": str(self.folder / "resolv.conf"),
                "podLogsDir": str(self.folder / "pod-logs"),
                "volumePluginDir": str(self.folder / "volume-plugins"),
                "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%"},
                "imageGCHighThresholdPercent": 100,
                # Pods come and go soon, and one says so late.
                "syncFrequency": "10s",
                "nodeStatusUpdateFrequency": "2s",
            },
        )
        plane.start(
            "kubelet", programs / "kubelet", f"--config={self.folder}/kubelet.yaml", config,
            "--hostname-override=node1", f"--node-ip={ADDRESS}",
            f"--root-dir={self.folder}/kubelet", f"--cert-dir={self.folder}/pki",
        )  # fmt: skip
        write_config(
            self.folder / "proxy.yaml",
            "kubeproxy.config.k8s.io/v1alpha1",
            "KubeProxyConfiguration",
            {
                "mode": "iptables",
                "clusterCIDR": "10.244.0.0/16",
                "hostnameOverride": "node1",
                "bindAddress": "127.0.0.1",
                "healthzBindAddress": f"127.0.0.1:{health_port}",
                "metricsBindAddress": f"127.0.0.1:{metrics_port}",
                "clientConnection": {"kubeconfig": str(plane.config)},
                "conntrack": {
                    "maxPerCore": 0,
                    "min": 0,
                    "tcpEstablishedTimeout": "0s",
                    "tcpCloseWaitTimeout": "0s",
                },
            },
        )
        plane.start("kube-proxy", programs / "kube-proxy", f"--config={self.folder}/proxy.yaml")
        eventually("the node is ready", self.is_ready, 60)
        self._names()

    def is_ready(self) -> bool:
        for program in self.plane.programs:
            program.must_run()
        nodes = self.plane.get("nodes")["items"]
        conditions = [one for node in nodes for one in node["status"].get("conditions", [])]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _names(self) -> None:
        """Names of Services: a real name server, which is given their addresses as they come."""
        hosts = self.folder / "hosts"
        hosts.write_text("")
        server = self.plane.start(
            "dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv",
            "--no-hosts", f"--addn-hosts={hosts}", f"--listen-address={GATEWAY}",
            "--bind-dynamic", "--local=/cluster.local/", "--user=root", "--pid-file=",
        )  # fmt: skip

        def follow():
            known = ""
            while not self.is_ending.wait(1):
                try:
                    services = self.plane.get("services", "--all-namespaces")["items"]
                except (checks.Failed, subprocess.TimeoutExpired, ValueError):
                    continue
                lines = sorted(
                    f"{one['spec']['clusterIP']} {one['metadata']['name']}."
                    f"{one['metadata']['namespace']}.svc.cluster.local\n"
                    for one in services
                    if one["spec"].get("clusterIP") not in (None, "None")
                )
                if "".join(lines) != known:
                    known = "".join(lines)
                    hosts.write_text(known)
                    if server.process.poll() is None:
                        os.kill(server.process.pid, 1)

        self.names = threading.Thread(target=follow, daemon=True)
        self.names.start()

    def process_of(self, pod: str, namespace: str) -> int:
        """The first process of a pod's container, as this machine numbers it."""
        status = self.plane.get(f"--namespace={namespace}", "pod", pod)["status"]
        container = status["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        for line in self.ctr("tasks", "list").stdout.splitlines()[1:]:
            name, process, _ = line.split()
            if name == container:
                return int(process)
        raise checks.Failed(f"{pod} has no process")

    def stop(self) -> None:
        """Pods first, while there is somebody to end them; then what is left of them."""
        for namespace in ("theatre", "servers"):
            self.plane.kubectl(
                "delete", "namespace", namespace, "--ignore-not-found", "--wait=false"
            )
            self.plane.kubectl(
                f"--namespace={namespace}", "delete", "pods", "--all", "--grace-period=1",
                "--wait=false", check=False,
            )  # fmt: skip

        def pods():
            return self.plane.get("pods", "--all-namespaces")["items"]

        until = time.monotonic() + 60
        while pods() and time.monotonic() < until:
            time.sleep(0.5)
        self.is_ending.set()
        if hasattr(self, "names"):
            self.names.join()
        for program in self.plane.programs:
            if program.name in ("kubelet", "kube-proxy", "dnsmasq"):
                program.stop()
        for kind, remove in (("tasks", ("rm", "--force")), ("containers", ("rm",))):
            listed = self.ctr(kind, "list", "--quiet", check=False).stdout.split()
            for one in listed:
                self.ctr(kind, *remove, one, check=False)

    def remove_traces(self) -> None:
        """Chains, bridges, mounts and groups of processes that these programs leave."""
        proxy = pathlib.Path(paths()["node"]) / "kube-proxy"
        call(proxy, "--cleanup", check=False, timeout=60)
        for table in ("iptables", "ip6tables"):
            saved = call(f"{table}-save", check=False).stdout
            kept = [
                line
                for line in saved.splitlines()
                if not any(mark in line for mark in ("KUBE-", "CNI-", "cni0"))
            ]
            if len(kept) != len(saved.splitlines()):
                call(f"{table}-restore", "-w", text="\n".join(kept) + "\n", check=False)
        for bridge in ("cni0", BRIDGE):
            call("ip", "link", "delete", bridge, check=False)
        mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted(mounts, reverse=True):
            if mount.startswith(str(self.folder)):
                call("umount", "--lazy", mount, check=False)
        # One for each controller with cgroups v1, one for all with v2.
        groups = pathlib.Path("/sys/fs/cgroup")
        for group in [*sorted(groups.glob("*/kubepods"), reverse=True), groups / "kubepods"]:
            for folder, _, _ in os.walk(group, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass  # a process is still in it, or it is gone


def write_config(path: pathlib.Path, version: str, kind: str, values: dict) -> None:
    path.write_text(json.dumps({"apiVersion": version, "kind": kind, **values}))


def save_images() -> pathlib.Path:
    """An archive of all images of the tests: the stand-ins of the official ones, and Theatre."""
    engine = ROOT / "tests" / "ops" / "engine"
    was_running = is_running(cache() / "engine" / "pid")
    docker = {"DOCKER_HOST": call(engine, "start").stdout.strip(), "DOCKER_BUILDKIT": "0"}
    try:
        checks.log("building the images that are not there yet")
        build = ROOT / "tests" / "ops" / "images" / "build"
        call(build, "debian", "kafka", "postgres", env=docker, timeout=1800)
        build_theatre(docker)
        build_pause(docker)
        archive = work() / "images.tar"
        images = [THEATRE, PAUSE, *SERVERS.values()]
        call("docker", "save", "--output", archive, *images, env=docker, timeout=300)
    finally:
        # An engine that somebody else started is left to them.
        if not was_running:
            call(engine, "stop")
    return archive


def is_running(pid_file: pathlib.Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except (OSError, ValueError):
        return False
    return True


def build_theatre(docker: dict) -> None:
    """The image of the repository's Dockerfile, with the program that is built already."""
    context = work() / "theatre-image"
    prebuilt = context / "prebuilt"
    prebuilt.mkdir(parents=True)
    named = os.environ.get("THEATRE_BIN")
    if named:
        call("cp", named, prebuilt / "theatre")
    else:
        programs(["theatre"], prebuilt)
    call(
        "docker", "build", "--file", ROOT / "Dockerfile", "--target", "theatre-prebuilt",
        "--tag", THEATRE, context, env=docker, timeout=900,
    )  # fmt: skip


def build_pause(docker: dict) -> None:
    """What holds a pod's network: a program that waits for signals."""
    folder = work() / "pause"
    folder.mkdir()
    (folder / "pause.c").write_text(
        "#include <signal.h>\n#include <unistd.h>\n"
        "static void end(int s) { (void)s; _exit(0); }\n"
        "int main(void) { signal(SIGTERM, end); signal(SIGINT, end);\n"
        "  for (;;) pause(); }\n"
    )
    call("cc", "-O2", "-static", "-o", folder / "pause", folder / "pause.c")
    call("tar", "-C", folder, "-cf", folder / "pause.tar", "pause")
    call(
        "docker", "import", "--change", 'ENTRYPOINT ["/pause"]', folder / "pause.tar", PAUSE,
        env=docker,
    )  # fmt: skip
