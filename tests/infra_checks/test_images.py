"""Images and templates: each image of images/ec2 is baked by the template that claims it."""

import fnmatch
import json
import re
import subprocess
import unittest

from infra_checks import sources

# Baked, but claimed by no image, and why is said in its template.
WITHOUT_IMAGE = {"windows2022"}
KEYS = {
    "name", "description", "provider", "reference", "login", "shapes", "capabilities", "ready", "probes", "boot_timeout",
}
# Always there, or a constant of the distribution: nothing to look up.
WITHOUT_PROBE = {"os", "sh", "git"}


def builds():
    """The build blocks of all templates by name."""
    found = {}
    for path in sorted(sources.PACKER.glob("*.pkr.hcl")):
        for build in sources.plain(sources.hcl(path).get("build", [])):
            found[build["name"]] = build
    return found


def evaluated(expression):
    """What Packer makes of an expression in the templates."""
    done = subprocess.run(["packer", "console", str(sources.work() / "tree" / "packer")],
                          input=f"jsonencode({expression})\n", capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def shell_parts(image):
    """Name and text of the scripts in an image file."""
    return [("ready", image["ready"]), *image["probes"].items()]


class Images(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.images = sources.images()
        cls.builds = builds()

    def test_every_image_has_its_template_and_the_other_way_round(self):
        self.assertTrue(self.images)
        self.assertEqual(set(self.images) | WITHOUT_IMAGE, set(self.builds))
        for stem, image in self.images.items():
            self.assertEqual(image["name"], stem)
            self.assertLessEqual(set(image), KEYS, stem)

    def test_packer_bakes_what_the_images_claim(self):
        baked = evaluated("local.images")
        self.assertEqual(set(baked), set(self.images))
        for name, image in self.images.items():
            self.assertEqual(baked[name]["capabilities"], image["capabilities"], name)

    def test_each_template_installs_its_own_images_versions(self):
        for name in self.images:
            build = json.dumps(self.builds[name])
            mentioned = set(re.findall(r'local\.images\[\\*"([\w-]+)\\*"\]', build))
            self.assertEqual(mentioned, {name})
            self.assertIn(f"local.image_dir}}/{name}.yaml", build)

    def test_the_image_finds_the_ami_of_its_template(self):
        for name, image in self.images.items():
            source = next(iter(self.builds[name]["source"][0].values()))
            ami = source["ami_name"].replace("${var.ami_prefix}", "dormouse").replace("${local.stamp}", "20260131000000")
            pattern = image["reference"]["ami"]["name"]
            self.assertTrue(fnmatch.fnmatchcase(ami, pattern), f"{ami} is not {pattern}")
            others = [other for other in self.images if other != name and fnmatch.fnmatchcase(f"dormouse-{other}-1", pattern)]
            self.assertEqual(others, [])
            self.assertEqual(image["reference"]["ami"]["owner"], "self")

    def test_login_and_size_agree_with_the_source(self):
        text = sources.text_of(sources.PACKER, "*.pkr.hcl")
        for name, image in self.images.items():
            base = name.split("-")[0]
            body = re.search(rf'source "amazon-ebs" "{base}" \{{(.*?)\n\}}', text, re.S)[1]
            self.assertIn(f'"{image["login"]["user"]}"', re.search(r"ssh_username\s*=.*", body)[0])
            self.assertGreaterEqual(int(image["reference"]["root"]["size"].removesuffix("GiB")), evaluated("var.root_gib"))

    def test_versions_are_texts(self):
        for name, image in self.images.items():
            for capability, claim in image["capabilities"].items():
                for value in claim if isinstance(claim, list) else [claim]:
                    self.assertIsInstance(value, (str, bool), f"{name}: quote {capability}, or YAML changes it")

    def test_every_version_is_probed(self):
        for name, image in self.images.items():
            self.assertEqual(set(image["probes"]), set(image["capabilities"]) - WITHOUT_PROBE, name)

    def test_scripts_in_images_are_sound(self):
        for name, image in self.images.items():
            for part, script in shell_parts(image):
                # SC1091: the file is on the machine, not here.
                done = subprocess.run(["shellcheck", "--shell=sh", "--exclude=SC1091", "-"], input=script + "\n",
                                      capture_output=True, text=True, check=False, timeout=30)
                self.assertEqual(done.returncode, 0, f"{name}: {part}: {done.stdout}")

    def test_templates_verify_before_they_clean_and_clean_last(self):
        for name in self.images:
            scripts = [body["script"].rsplit("/", 1)[1] for provisioner in self.builds[name]["provisioner"]
                       for body in provisioner.values() if "script" in body]
            self.assertEqual(scripts[0], "base.sh", name)
            self.assertEqual(scripts[-2:], ["verify.py", "clean.sh"], name)
            self.assertEqual(list(self.builds[name]["post-processor"][0]), ["manifest"], name)

    def test_every_script_is_used(self):
        text = sources.text_of(sources.PACKER, "*.pkr.hcl")
        for path in (sources.PACKER / "scripts").rglob("*.*"):
            self.assertIn(f"scripts/{path.relative_to(sources.PACKER / 'scripts')}", text)
