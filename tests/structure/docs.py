"""Fails if a Markdown page links to a file or heading, or names a path, function or log line, that is not there.

Fails as well if a page has CloudFormation take a template from the request that is too large for it.

Paths and functions are checked in the pages that walk through the code: docs/architecture.md and CONTRIBUTING.md. Log lines
are checked in docs/operations.md. The Python in docs/exported-objects.md is run on a notification of S3. What the verifier can
find is compared with the tables of docs/proof.md.
"""

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote_plus

ROOT = Path(__file__).parents[2]
WALKS = ["docs/architecture.md", "CONTRIBUTING.md"]
LOG_LINES = "docs/operations.md"
# The most that `--template-body` and `aws cloudformation deploy --template-file` can send ("CloudFormation quotas"). A larger
# template has to be in S3.
MAX_TEMPLATE_BODY = 51_200
CONSUMERS = "docs/exported-objects.md"
PROOF = "docs/proof.md"


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def anchors(page):
    """The fragments that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"links to {link}, which is not there"
        elif fragment and fragment not in anchors(target):
            yield f"links to {link}, a heading that is not there"


def find(path):
    """The file or folder that a walk names, below the root or below `functions/`."""
    below = [ROOT / path, ROOT / "functions" / path, ROOT / "functions/console/src" / path, ROOT / "functions/console" / path]
    return next((found for found in below if found.exists()), None)


def is_ignored(path):
    """Whether git ignores a path, such as a folder that a command makes."""
    return subprocess.run(["git", "check-ignore", "--quiet", path + "/"], cwd=ROOT).returncode == 0


def missing_names(page):
    for line in without_code(page.read_text()).splitlines():
        for path in re.findall(r"`([\w.-]+/[\w./-]*)`", line):
            if not find(path) and not is_ignored(path):
                yield f"names {path}, which is not there"
        # "`load` in `aws/src/tenants/export.rs`", and the columns "file" and "functions" of the walk through a tick.
        named = re.findall(r"`(\w+)`(?:,| and)? in `([\w/.-]+\.rs)`", line)
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[0].isdigit():
            named += [(name, cells[1].strip("`")) for name in re.findall(r"`(\w+)`", cells[2])]
        for name, path in named:
            found = find(path)
            if found and not re.search(rf"\b(?:fn|struct|enum|trait|const) {name}\b|\b{name}: \[|{name}!", found.read_text()):
                yield f"says that {name} is in {path}"


def missing_log_lines(page):
    """The log lines that a page quotes, which are lower-case phrases, and that no source has."""
    sources = "".join(source.read_text() for source in ROOT.glob("functions/*/src/**/*.rs"))
    sources = re.sub(r"\\\n\s*", "", sources)
    for quoted in re.findall(r"`([a-z',:;]+(?:\s[a-z',:;]+){2,})`", without_code(page.read_text())):
        line = " ".join(quoted.split())
        # The source has "the {what} failed".
        if line not in sources and not re.fullmatch(r"the \w+ failed", line):
            yield f"quotes the log line \"{line}\", which is not there"


def large_templates(page):
    """The commands that send a template which is too large, or which this check can't measure."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(), flags=re.S | re.M)
    for command in re.sub(r"\\\n\s*", " ", "".join(blocks)).splitlines():
        sent = re.search(r"aws cloudformation .*--template-(?:body|file)[ =](?:file://)?(\S+)", command)
        if sent:
            files = [file for folder in ("infra", "cloudformation") for file in (ROOT / folder).glob(Path(sent[1]).name)]
            if not files or files[0].stat().st_size > MAX_TEMPLATE_BODY:
                yield f"sends {sent[1]}, which may have more than {MAX_TEMPLATE_BODY} bytes: upload it and use --template-url"


def wrong_consumer(page):
    """Runs the page's function on a notification that names the page's own keys, encoded as S3 does."""
    code = "".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.S | re.M))
    files = re.findall(r"`(audit-logs/tenant=\S+_0001\.\S+)`", page.read_text())
    files += ["it's/(ok)!/" + file for file in files]
    keys = [*files, "security/audit-logs/tenant=acme/_audit-log-export/connectivity-check"]
    encoded = [quote_plus(key, safe="/") for key in keys]
    records = [{"s3": {"bucket": {"name": "acme-audit-logs"}, "object": {"key": key}}} for key in encoded]
    names = {}
    exec(code, names)
    found = list(names["delivered"]({"Records": records}))
    if not files or "%3D" not in encoded[0] or found != [("acme-audit-logs", file) for file in files]:
        yield f"reads {encoded} as {found}"
    if list(names["delivered"]({"Event": "s3:TestEvent"})):
        yield "takes a test message for a delivered file"


def wrong_findings(page):
    """The kinds of findings that the page's tables of errors and notices lack, or have too much."""
    declared = re.findall(r"^    (\w+) (Error|Unchecked|Notice) \"", (ROOT / "verifier/src/finding.rs").read_text(), flags=re.M)
    kinds = {(re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(), severity) for name, severity in declared}
    _, report = page.read_text().split("## Read the report")
    parts = re.split(r"^### (Errors|Files that couldn't be checked|Notices)", report.split("\n## ")[0], flags=re.M)
    severities = {"Errors": "Error", "Files that couldn't be checked": "Unchecked", "Notices": "Notice"}
    explained = {
        (kind, severities[title])
        for title, text in zip(parts[1::2], parts[2::2])
        for kind in re.findall(r"^\| `(\w+)` \||exit status 2: `(\w+)`,", text, flags=re.M)
        for kind in kind
        if kind
    }
    for kind, severity in sorted(kinds - explained):
        yield f"doesn't explain the finding {kind} ({severity})"
    for kind, severity in sorted(explained - kinds):
        yield f"explains the finding {kind} ({severity}), which the verifier doesn't have"


def main():
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    faults = []
    for name in listed.stdout.split():
        page = ROOT / name
        if page.exists():
            faults += [f"{name} {fault}" for fault in broken_links(page)]
            faults += [f"{name} {fault}" for fault in large_templates(page)]
            faults += [f"{name} {fault}" for fault in missing_names(page)] if name in WALKS else []
            faults += [f"{name} {fault}" for fault in missing_log_lines(page)] if name == LOG_LINES else []
            faults += [f"{name} {fault}" for fault in wrong_consumer(page)] if name == CONSUMERS else []
            faults += [f"{name} {fault}" for fault in wrong_findings(page)] if name == PROOF else []
    # The connector page's commands send this one if no bucket is known.
    size = (ROOT / "cloudformation/audit-log-export-role.yaml").stat().st_size
    if size > MAX_TEMPLATE_BODY:
        faults.append(f"the customers' template has {size} bytes, and --template-body takes {MAX_TEMPLATE_BODY}")
    print("\n".join(faults), end="\n" if faults else "")
    sys.exit(bool(faults))


main()
