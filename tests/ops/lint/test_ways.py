"""Whether the tests of the compose file choose what is asked for, and refuse what they cannot do."""

import sys
import unittest

from harness import OPS, Failed

sys.path.insert(0, str(OPS / "compose"))

from ways import choose  # noqa: E402


def no_program(_):
    return None


def has_sudo(name):
    return f"/usr/bin/{name}"


class Ways(unittest.TestCase):
    def test_stand_ins_are_made_of_compiled_programs(self):
        way = choose({}, is_root=True)
        self.assertFalse(way.official)
        self.assertIn("object-store", way.needs_programs)
        words = way.words_of_build("theatre", "Dockerfile", "folder")
        self.assertEqual(words[words.index("--target") + 1], "theatre-prebuilt")
        self.assertNotIn("grafana", way.watchers)
        # As recipes of stand-ins.
        for name in way.watchers:
            self.assertTrue((OPS / "images" / name).is_dir(), name)

    def test_beside_official_images_theatre_is_compiled_within_its_build(self):
        way = choose({"THEATRE_OPS_IMAGES": "official"}, is_root=True)
        self.assertTrue(way.official)
        self.assertEqual(way.needs_programs, [])
        words = way.words_of_build("redshift-local", "Dockerfile", "folder")
        self.assertEqual(words[words.index("--target") + 1], "redshift-local")
        self.assertFalse([word for word in words if "prebuilt" in word])
        self.assertIn("grafana", way.watchers)

    def test_without_root_processes_are_killed_with_sudo(self):
        way = choose({"THEATRE_OPS_IMAGES": "official"}, is_root=False, find=has_sudo)
        self.assertEqual(way.kill[:2], ("/usr/bin/sudo", "--non-interactive"))
        self.assertEqual(choose({}, is_root=True, find=no_program).kill[0], "kill")

    def test_what_cannot_be_done_is_refused(self):
        official = {"THEATRE_OPS_IMAGES": "official"}
        refused = [
            # Nothing here could kill a process of a container.
            (official, False, no_program),
            # An engine of its own runs as root only.
            ({}, False, has_sudo),
            # Its processes are those of another machine.
            ({**official, "DOCKER_HOST": "tcp://elsewhere:2375"}, True, has_sudo),
            # Neither of the two.
            ({"THEATRE_OPS_IMAGES": "offical"}, True, has_sudo),
        ]
        for environment, is_root, find in refused:
            with self.subTest(environment), self.assertRaises(Failed):
                choose(environment, is_root, find)
        here = {**official, "DOCKER_HOST": "unix:///run/user/1000/docker.sock"}
        self.assertTrue(choose(here, True, has_sudo).official)


if __name__ == "__main__":
    unittest.main()
