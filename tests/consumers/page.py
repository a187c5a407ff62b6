"""The code of docs/consumers.md, with the names of what was exported in place of the page's."""

import os
import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/consumers.md"
# What the page calls the bucket, its address and region, and the tenant.
BUCKET, ADDRESS, REGION, TENANT = "acme-audit-logs", "https://acme-audit-logs.s3.eu-west-1.amazonaws.com", "eu-west-1", "acme"


def blocks(heading, tenant=None):
    """The languages and texts of the fenced blocks below a heading, up to the next one."""
    section = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", without_blocks(), flags=re.S | re.M)
    if not section:
        raise SystemExit(f"docs/consumers.md has no heading {heading}")
    found = [fenced()[int(number)] for number in re.findall(r"^\x00(\d+)$", section[1], flags=re.M)]
    return [(language, named(text, tenant) if tenant else text) for language, text in found]


def code(heading, tenant, language):
    """The text of the only block below a heading."""
    [(found, text)] = blocks(heading, tenant)
    assert found == language, f"{heading} has {found}"
    return text


def statements(heading, tenant):
    return [statement.strip() for statement in code(heading, tenant, "sql").split(";") if statement.strip()]


def table():
    """The page's first table: for each consumer, its cells."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text().split("\n## ")[0].splitlines() if line.startswith("|")]
    heading, _, *rows = [[cell.strip() for cell in row] for row in rows]
    return {re.sub(r"\[(.*?)\].*", r"\1", row[0]): dict(zip(heading, row)) for row in rows}


def fenced():
    return re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), flags=re.S | re.M)


def without_blocks():
    """The page with a number in place of each block, since code has lines that look like headings."""
    numbers = iter(range(len(fenced())))
    return re.sub(r"^```\w+\n.*?^```$", lambda _: f"\0{next(numbers)}", PAGE.read_text(), flags=re.S | re.M)


def named(text, tenant):
    """A text about the page's tenant as one about another tenant of the local AWS."""
    bucket, name = tenant["bucket"], tenant["tenant"]
    prefix = tenant["folder"].removesuffix(f"audit-logs/tenant={name}/")
    text = text.replace(f"{ADDRESS}/", f"{os.environ['AWS_ENDPOINT_URL']}/{BUCKET}/")
    text = text.replace(f"{BUCKET}/audit-logs/", f"{BUCKET}/{prefix}audit-logs/").replace(REGION, os.environ["AWS_REGION"])
    text = text.replace(BUCKET, "\0").replace(f"tenant={TENANT}/", f"tenant={name}/")
    return text.replace(f"'{TENANT}'", f"'{name}'").replace("\0", bucket)
