"""Whether a change wants the groups run that try what it changed."""

import os
import pathlib
import subprocess
import tempfile
import unittest
from unittest import mock

import groups
from harness import OPS, ROOT


class Files(unittest.TestCase):
    def test_every_group_says_which_files_it_tries_and_each_is_there(self):
        self.assertEqual(sorted(groups.FILES), sorted(path.parent.name for path in OPS.glob("*/run")))
        for name, patterns in groups.FILES.items():
            for pattern in [*groups.COMMON, *patterns]:
                with self.subTest(f"{name}: {pattern}"):
                    self.assertTrue(groups.git("ls-files", "--", pattern), "no file is there")
            own = f"tests/ops/{name}/run"
            self.assertTrue(
                name == "lint" or any(own.startswith(one) for one in patterns), f"not {own}"
            )


class Changes(unittest.TestCase):
    """In a repository of its own, with files in the places of the real ones."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name in ["helm/theatre/values.yaml", "infra/deploy", "runtime/api/lib.rs"]:
            self.write(name, "before")
        self.git("init", "--quiet")
        self.commit()
        for change in [
            mock.patch.object(groups, "ROOT", self.root),
            mock.patch.dict(os.environ, {"THEATRE_OPS_CACHE": str(self.root / ".git/cache")}),
        ]:
            change.start()
            self.addCleanup(change.stop)
        self.first = self.git("rev-parse", "HEAD").strip()

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def git(self, *words):
        who = ["-c", "user.name=tests", "-c", "user.email=tests@example.com"]
        command = ["git", *who, *words]
        done = subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True)
        return done.stdout

    def commit(self):
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "one")

    def test_only_groups_whose_files_differ_are_wanted(self):
        self.assertEqual(groups.changed(self.first), [])
        self.write("helm/theatre/values.yaml", "after")
        self.commit()
        self.assertEqual(groups.changed(self.first), ["kubernetes"])
        self.write("helm/theatre/files/rules/a.yaml", "rules")
        self.commit()
        self.assertEqual(groups.changed(self.first), ["compose", "kubernetes", "watch"])

    def test_what_all_stand_on_and_a_commit_that_is_not_there_want_all(self):
        everything = [name for name in groups.FILES if name not in groups.APART]
        self.assertEqual(groups.changed("0" * 40), everything)
        self.write("tests/ops/harness.py", "after")
        self.commit()
        self.assertEqual(groups.changed(self.first), everything)

    def test_a_group_is_due_until_it_has_passed_with_these_files(self):
        self.assertIn("infra", groups.due())
        groups.main(["passed", "infra"])
        self.assertNotIn("infra", groups.due())
        self.assertIn("kubernetes", groups.due())
        # Also by what is not committed, and by who may run it.
        self.write("infra/new", "new")
        self.assertIn("infra", groups.due())
        (self.root / "infra/new").unlink()
        self.assertNotIn("infra", groups.due())
        (self.root / "infra/deploy").chmod(0o755)
        self.assertIn("infra", groups.due())


if __name__ == "__main__":
    unittest.main()
