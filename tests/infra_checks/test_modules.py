"""The modules' files: nothing declared in vain, everything described, READMEs current."""

import re
import unittest

from infra_checks import generated, sources


class Modules(unittest.TestCase):
    def test_every_variable_is_described_and_used(self):
        for name, directory in sources.MODULES.items():
            text = sources.without_comments(sources.text_of(directory))
            declarations = re.compile(r'(?ms)^variable "\w+" \{.*?^\}')
            used = set(re.findall(r"\bvar\.(\w+)", declarations.sub("", text)))
            declared = generated.blocks(directory, "variable")
            self.assertEqual({variable for variable, _ in declared}, used, name)
            for variable, body in declared:
                self.assertTrue(body.get("description") and body.get("type"), f"{name}: {variable}")

    def test_every_local_is_used(self):
        for name, directory in sources.MODULES.items():
            text = sources.without_comments(sources.text_of(directory))
            for local, _ in generated.blocks(directory, "locals"):
                self.assertTrue(re.search(rf"\blocal\.{local}\b", text), f"{name}: local.{local}")

    def test_every_template_and_data_source_is_used(self):
        text = sources.text_of(sources.TERRAFORM)
        for path in (sources.TERRAFORM / "templates").iterdir():
            self.assertIn(f"templates/{path.name}", text)
        for kind, name in re.findall(r'(?m)^data "(\w+)" "(\w+)"', text):
            self.assertIn(f"data.{kind}.{name}", text)

    def test_every_output_is_described(self):
        for name, directory in sources.MODULES.items():
            for output, body in generated.blocks(directory, "output"):
                self.assertTrue(body.get("description"), f"{name}: {output}")

    def test_the_tables_are_current(self):
        for name, directory in sources.MODULES.items():
            self.assertEqual((directory / "README.md").read_text(encoding="utf-8"), generated.readme(directory),
                             f"{name}/README.md is stale: run tests/infra --write")

    def test_the_example_gives_every_required_variable(self):
        text = sources.text_of(sources.TERRAFORM / "examples" / "complete")
        for directory in sources.MODULES.values():
            for variable, body in generated.blocks(directory, "variable"):
                if "default" not in body:
                    self.assertRegex(text, rf"(?m)^  {variable}\s+=")
