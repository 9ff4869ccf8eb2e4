"""How the tests of the compose file get their images, and how they end a process as the kernel
would: chosen once, from what is asked for and what this machine allows."""

import dataclasses
import shutil

from harness import Failed

ASKED = "THEATRE_OPS_IMAGES"


@dataclasses.dataclass(frozen=True)
class Way:
    """What differs between the official images and their stand-ins."""

    # Whether official images are pulled, by the engine of DOCKER_HOST. Else stand-ins are built, in
    # an engine of the tests' own.
    official: bool
    # The command that kills a process; its number comes behind it.
    kill: tuple

    def words_of_build(self, image, dockerfile, folder):
        """What `docker` makes an image of this repository with. With official images it is as a
        user makes it: compiled within the build, for the libc that it will run on. A folder is of
        the sources then, else of programs that are compiled already."""
        words = ["build", "--file", dockerfile, "--tag", f"{image}:ops"]
        if self.official:
            # `quick` compiles in a third of the time of what is shipped.
            return [*words, "--target", image, "--build-arg", "PROFILE=quick", folder]
        return [*words, "--target", f"{image}-prebuilt", folder]

    @property
    def needs_programs(self):
        """The programs that have to be compiled before images are made."""
        return [] if self.official else ["theatre", "redshift-local", "object-store"]

    @property
    def watchers(self):
        """Services of the profile `observability` that can run here, but for Theatre's own. Grafana
        has no stand-in."""
        stand_ins = ["prometheus", "alertmanager", "pushgateway"]
        return stand_ins + (["grafana"] if self.official else [])


def choose(environment, is_root, find=shutil.which):
    """The way for an environment. Fails where nothing could kill a container's process: through the
    engine it would be a person's wish, after which nothing has to come back by itself."""
    asked = environment.get(ASKED, "")
    if asked not in ("", "official"):
        raise Failed(f"{ASKED} is {asked}: it is official, or is not set")
    official = asked == "official"
    if not official and not is_root:
        raise Failed(f"an engine of the tests' own runs as root only; or set {ASKED}=official")
    host = environment.get("DOCKER_HOST", "")
    if official and host and not host.startswith("unix://"):
        raise Failed(f"DOCKER_HOST is {host}: what runs there cannot be killed from here")
    if is_root:
        return Way(official, ("kill", "-s", "KILL"))
    sudo = find("sudo")
    if sudo is None:
        raise Failed("processes of containers are killed as root, or with sudo, which is not here")
    return Way(official, (sudo, "--non-interactive", "kill", "-s", "KILL"))
