"""Fails if modules of a crate depend on each other in a cycle.

A module is a file together with the folder of the same name. Siblings (modules with the same parent) must not form a cycle:
there is an arrow from each module to the sibling whose names it uses. A module may use its parent, since both are one module
to all others. Unit tests don't count. The script reads `use` declarations and paths as text and needs no build.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CRATES = ["functions/*/src", "verifier/src", "tests/src", "tests/*/src", "tests/bench", "tests/demo", "tests/e2e/*/"]
TESTS = {"tests", "round_trips"}
TEST_MODULE = re.compile(r"#\[cfg\(test\)\]\s+(?:pub\(crate\) )?mod \w+ \{")
USE = re.compile(r"\buse\s+([^;]+);")
PUBLIC_USE = re.compile(r"\bpub(?:\([\w ]+\))?\s+use\s+([^;]+);")
PATH = re.compile(r"\b(?:crate|super|self)(?:::\w+)+")


def read_modules(folder):
    """The source of each module, by its path: ("export", "reader")."""
    modules = {}
    for file in folder.rglob("*.rs"):
        path = file.relative_to(folder).with_suffix("").parts
        if path[-1] in ("lib", "main"):
            path = path[:-1]
        if not TESTS & set(path):
            modules[path] = TEST_MODULE.split(re.sub(r"//.*", "", file.read_text()))[0]
    return modules


def expand(tree):
    """The paths of a `use` declaration: "crate::ports::{Due, self}" has crate::ports::Due and crate::ports."""
    head, brace, rest = tree.partition("{")
    if not brace:
        path = tree.split(" as ")[0].split("::")
        return [tuple(name.strip() for name in path if name.strip())]
    prefix = tuple(name.strip() for name in head.split("::") if name.strip())
    depth, parts = 0, [""]
    for character in rest:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [prefix + path for part in parts if part.strip() for path in expand(part)]


def resolve(module, path):
    """The path from the crate's root."""
    if path[0] == "crate":
        return path[1:]
    while path and path[0] in ("self", "super"):
        module = module if path[0] == "self" else module[:-1]
        path = path[1:]
    return module + path


def used_paths(module, code):
    """The paths that a module names, from the crate's root. Those of other crates seem to be below the module itself."""
    paths = [path for tree in USE.findall(code) for path in expand(tree)]
    paths += [tuple(text.split("::")) for text in PATH.findall(USE.sub("", code))]
    return [resolve(module, path) for path in paths if path]


def find_reexports(modules):
    """The original paths of names that modules reexport."""
    trees = [(module, tree) for module, code in modules.items() for tree in PUBLIC_USE.findall(code)]
    return {module + path[-1:]: resolve(module, path) for module, tree in trees for path in expand(tree)}


def owner(modules, reexports, path):
    """The module that defines a name."""
    for _ in range(4):
        path = reexports.get(path, path)
    while path and path not in modules:
        path = path[:-1]
    return path


def find_arrows(modules):
    """The siblings that each module uses, with one of the used names."""
    reexports, arrows = find_reexports(modules), defaultdict(dict)
    for module, code in modules.items():
        for path in used_paths(module, code):
            other = owner(modules, reexports, path)
            branch = next((at for at, (a, b) in enumerate(zip(module, other)) if a != b), None)
            if branch is not None:
                arrows[module[: branch + 1]].setdefault(other[: branch + 1], "::".join(path))
    return arrows


def find_cycles(arrows):
    """The groups of modules that reach each other."""
    reached = {}
    for start in arrows:
        seen, queue = set(), [start]
        while queue:
            found = set(arrows.get(queue.pop(), ())) - seen
            seen |= found
            queue += found
        reached[start] = seen
    groups = {frozenset(b for b in reached[a] if a in reached.get(b, ())) for a in reached if a in reached[a]}
    return sorted(sorted(group) for group in groups)


def main():
    failed = False
    for folder in sorted({folder for pattern in CRATES for folder in ROOT.glob(pattern)}):
        arrows = find_arrows(read_modules(folder))
        for cycle in find_cycles(arrows):
            failed = True
            print(f"{folder.relative_to(ROOT)}: modules in a cycle")
            for a in cycle:
                for b in (b for b in cycle if b in arrows[a]):
                    print(f"    {'::'.join(a)} uses {'::'.join(b)} ({arrows[a][b]})")
    sys.exit(failed)


main()
