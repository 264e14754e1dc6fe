"""Takes out of a copy of the templates what Debian's Packer 1.6.6 does not know yet.

Each thing must be there before it is taken out, in every source: this is also the check that the
machines being baked, and the AMIs, require IMDSv2.
"""

import re
import sys
from pathlib import Path

BLOCK = re.compile(r"\n  metadata_options \{\n(.*?)\n  \}\n", re.S)
SUPPORT = re.compile(r'\n  imds_support\s*= "v2\.0"')


def main():
    for path in sorted(Path(sys.argv[1]).glob("*.pkr.hcl")):
        text = path.read_text(encoding="utf-8")
        sources = len(re.findall(r'(?m)^source "amazon-ebs"', text))
        blocks = BLOCK.findall(text)
        required = [block for block in blocks if re.search(r'http_tokens\s*= "required"', block)
                    and re.search(r"http_put_response_hop_limit\s*= 1\b", block)]
        if len(required) != sources or len(SUPPORT.findall(text)) != sources:
            sys.exit(f"{path.name}: a source does not require IMDSv2 with a hop limit of 1, for itself and its AMI")
        path.write_text(SUPPORT.sub("", BLOCK.sub("\n", text)), encoding="utf-8")


main()
