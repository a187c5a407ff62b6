"""The partitions and regions that the core knows are those of botocore, in the version pinned in tests/tools.

Fails if they differ. `--write` brings the core's table up to date. Run by `.tools/venv/bin/python`, which has botocore.
"""

import json
import re
import sys
from datetime import date
from pathlib import Path

import botocore

SOURCE = Path(__file__).parents[2] / "functions/core/src/tenant/regions.rs"
DATA = Path(botocore.__file__).parent / "data"
TABLE = re.compile(r"(?<=\npartitions! \{\n).*?(?=\}\n)", re.DOTALL)
AS_OF = re.compile(r'(?<=const AS_OF: &str = ")[^"]*')


def read_botocore():
    """Returns the DNS suffix and the regions of each partition, without names like `aws-global` for global services."""
    partitions = {}
    for entry in json.loads((DATA / "partitions.json").read_text())["partitions"]:
        partitions[entry["id"]] = (entry["outputs"]["dnsSuffix"], set(entry["regions"]))
    for entry in json.loads((DATA / "endpoints.json").read_text())["partitions"]:
        suffix, regions = partitions.setdefault(entry["partition"], (entry["dnsSuffix"], set()))
        if suffix != entry["dnsSuffix"]:
            sys.exit(f"botocore has two DNS suffixes for {entry['partition']}: {suffix} and {entry['dnsSuffix']}")
        regions.update(entry["regions"])
    return {
        name: (suffix, sorted(region for region in regions if not region.endswith("-global")))
        for name, (suffix, regions) in sorted(partitions.items())
    }


def as_rust(partitions):
    lines = []
    for name, (suffix, regions) in partitions.items():
        variant = name.title().replace("-", "")
        lines += [f'    {variant} = "{name}", "{suffix}", [', *(f'        "{region}",' for region in regions), "    ];"]
    return "".join(f"{line}\n" for line in lines)


def main():
    source = SOURCE.read_text()
    [table] = TABLE.findall(source)
    expected = as_rust(read_botocore())
    if table == expected:
        return
    if sys.argv[1:] == ["--write"]:
        updated = TABLE.sub(lambda _: expected, source)
        SOURCE.write_text(AS_OF.sub(f"{date.today():%B %Y}", updated))
        return
    sys.exit(
        f"{SOURCE.name} and botocore {botocore.__version__} know different partitions or regions.\n"
        "Run .tools/venv/bin/python tests/structure/regions.py --write, and decide on each new partition in "
        "Region::console_host."
    )


if __name__ == "__main__":
    main()
