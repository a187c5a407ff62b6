"""Runs each consumer of docs/consumers.md on the exported files of each format, and compares what it finds with what was recorded.

usage: check.py EXPORTED, the description that main.rs writes. Prints a table and fails on any deviation: from the recorded
events, from what the page's table says, or from what the page says that fails.
"""

import concurrent.futures
import datetime
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import page
import snippets

ENGINES = Path(__file__).with_name("engines.py")
TIMEOUT_SECONDS = 120
FORMATS = [("json", "none"), ("json", "gzip"), ("ndjson", "none"), ("ndjson", "gzip")]
COLUMNS = ["counts equal", "heartbeat", "unicode", "late", "malformed"]
# Of the page's table, in its order: the function in engines.py.
CONSUMERS = {
    "DuckDB": "duckdb",
    "ClickHouse, chDB": "clickhouse",
    "Polars": "polars",
    "PyArrow": "pyarrow",
    "DataFusion": "datafusion",
    "Python's standard library": "python",
    "jq and gzip": "jq",
    "Athena": "athena",
}
# The local AWS's Athena is DuckDB, which reads `json`. So this isn't run. A trap stands in for it.
NOT_RUN = ("Athena", "json")
# How each says that it can't read a format.
REFUSALS = {"PyArrow": "Column() changed from object to array"}
# Those whose queries order actions by their number.
ORDER_ACTIONS = {"DuckDB", "ClickHouse, chDB", "Athena"}
# What the page tells readers not to do, as functions in traps.py, with the formats on which they fail.
TRAPS = {
    "polars_scan_ndjson_fails_on_arrays": [("json", "none")],
    "polars_scan_ndjson_drops_fields_or_fails": [("ndjson", "none")],
    "polars_text_may_not_be_json": [("ndjson", "none")],
    "pyarrow_dataset_fails_on_a_field_of_two_types": [("ndjson", "none")],
    "datafusion_does_not_read_objects_as_text": [("ndjson", "none")],
    "splitlines_splits_events": [("ndjson", "none")],
    "duckdb_guesses_types": [("ndjson", "none")],
    "athena_reads_lines_and_these_are_no_events": [("json", "none"), ("json", "gzip")],
}


def run(script, name, tenant):
    """What a consumer finds in a tenant's files, or how it fails."""
    path = os.pathsep.join([str(ENGINES.with_name("bin")), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "AWS_ACCESS_KEY_ID": tenant["account"], "AWS_ALLOW_HTTP": "true"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ENGINES.with_name(script), name]
        done = subprocess.run(
            command, input=json.dumps(tenant), text=True, capture_output=True, timeout=TIMEOUT_SECONDS, cwd=folder,
            env={**environment, "HOME": folder},
        )
    return (json.loads(done.stdout.splitlines()[-1]), "") if done.returncode == 0 else (None, done.stderr.strip())


def compare(found, expected):
    """What differs, for each column; empty texts if nothing does."""
    events = {(id, date): rest for id, date, *rest in expected["events"]}
    delivered = len(events) + expected["heartbeats"] + expected["repeated"]
    has_info = len(found["events"][0]) == 6
    rows = {(row[0], instant(row[1])): row[2:5] for row in found["events"]}
    info = {row[0]: json.loads(row[5]) for row in found["events"] if row[5]} if has_info else {}
    failed_logins = [[instant(date), *rest][: 3 if has_info else 2] for date, *rest in expected["failedLogins"]]
    heartbeats = [row for row in found["delivered"] if row[2:4] == ["System", "Audit Log Export Completed"]]
    malformed = [id for id, date, log_type, action, _ in expected["events"] if action == "Malformed Audit Event"]
    late = [row for row in found["delivered"] if row[0] == "late"]
    twice = [key for key, times in Counter(map(str, found["delivered"])).items() if times == 2]

    return {
        "counts equal": differences(
            ("events", found["count"], len(events)),
            ("rows", len(found["events"]), len(events)),
            ("recorded events", rows, {(id, instant(date)): rest for (id, date), rest in events.items()}),
            ("failed logins", sorted([instant(date), *rest] for date, *rest in found["failedLogins"]), sorted(failed_logins)),
            ("their order", [instant(date) for date, *_ in found["failedLogins"]], sorted(date for date, *_ in failed_logins)),
            ("by action", {action: int(n) for action, n in found["byAction"]}, Counter(event[3] for event in expected["events"])),
        ),
        "heartbeat": differences(
            ("delivered", len(heartbeats), expected["heartbeats"]),
            ("left", [row for row in found["events"] if row[3] == "Audit Log Export Completed"], []),
        ),
        "unicode": differences(
            ("name", rows.get(key_of("text", events), [None] * 3)[2], "Zoë " + expected["text"].rstrip("\u2028\u2029")),
            ("text", info.get("text", {}).get("text"), expected["text"] if has_info else None),
            ("large text", len(info.get("large", {}).get("text", "")), expected["largeText"] if has_info else 0),
        ),
        "late": differences(
            ("rows in all files", len(found["delivered"]), delivered),
            ("the late event", len(late), 1),
            ("repeated events", len(twice), expected["repeated"]),
        ),
        "malformed": differences(
            ("ids", sorted(row[0] for row in found["events"] if row[3] == "Malformed Audit Event"), sorted(malformed)),
            ("texts", [info[id]["raw"] for id in malformed if id in info], expected["malformed"] if has_info else []),
        ),
    }


def differences(*compared):
    return "; ".join(f"{what}: {found!r:.300} instead of {expected!r:.300}" for what, found, expected in compared if found != expected)


def key_of(wanted, events):
    return next((id, instant(date)) for id, date in events if id == wanted)


def instant(date):
    """A time without its spelling, since DuckDB prints those that it has guessed in another one."""
    return datetime.datetime.fromisoformat(date).replace(tzinfo=None).isoformat()


def check(consumer, tenant, engine=None):
    """The cells of a consumer and a format, and what is wrong."""
    says = page.table()[consumer][f"`{tenant['format']}`"]
    if (consumer, tenant["format"]) == NOT_RUN:
        return ["not run here"] * len(COLUMNS), [] if says == "no" else ["the page says that it can be read"]
    found, error = run("engines.py", engine or CONSUMERS[consumer], tenant)
    if says == "no":
        refused = not found and REFUSALS[consumer] in error
        return ["not readable"] * len(COLUMNS), [] if refused else [f"doesn't fail as the page says: {error[-500:]}"]
    if not found:
        return ["FAILED"] * len(COLUMNS), [error[-2000:]]
    different = compare(found, tenant["expected"])
    wrong = [f"{column}: {text}" for column, text in different.items() if text]
    if (len(found["events"][0]) == 6) != (page.table()[consumer]["`additionalInfo`"] == "yes"):
        wrong.append("the page's table says something else about additionalInfo")
    numbers = [int(number) for _, number in found["byAction"]]
    if consumer in ORDER_ACTIONS and numbers != sorted(numbers, reverse=True):
        wrong.append("the actions aren't ordered by their number")
    return ["NO" if different[column] else "yes" for column in COLUMNS], wrong


def check_empty(consumer, tenant):
    """Whether a consumer does what the page says where nothing was delivered yet."""
    says = page.table()[consumer]["before the first file"]
    found, error = run("engines.py", CONSUMERS[consumer], tenant)
    if found and not found["delivered"] and not found["count"]:
        does = "no rows"
    else:
        does = "an error: no files match" if "No files found" in error else error[-500:]
    return [] if does == says else [f"before the first file, it does this: {does}"]


def print_table(rows):
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main(exported):
    exported = json.loads(Path(exported).read_text())
    native = [tenant for tenant in exported["tenants"] if tenant["schema"] == "native"]
    tenants = {(tenant["format"], tenant["compression"]): tenant for tenant in native}
    [ocsf] = [tenant for tenant in exported["tenants"] if tenant["schema"] == "ocsf"]
    documented = list(page.table())
    assert documented[: len(CONSUMERS)] == list(CONSUMERS), f"the page's table has {documented}"

    rows, wrong = [["consumer", "format", *COLUMNS]], []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        cells = {(consumer, format): pool.submit(check, consumer, tenants[format]) for consumer in CONSUMERS for format in FORMATS}
        empty = {consumer: pool.submit(check_empty, consumer, exported["empty"]) for consumer in CONSUMERS}
        cells["DuckDB, OCSF", (ocsf["format"], ocsf["compression"])] = pool.submit(check, "DuckDB", ocsf, "duckdb_ocsf")
        traps = [(trap, pool.submit(run, "traps.py", trap, tenants[format])) for trap, formats in TRAPS.items() for format in formats]
        for (consumer, (format, compression)), cell in cells.items():
            verdicts, reasons = cell.result()
            name = format + (", gzip" if compression == "gzip" else "")
            rows.append([consumer, name, *verdicts])
            wrong += [f"{consumer}, {name}: {reason}" for reason in reasons]
        wrong += [f"{consumer}: {reason}" for consumer, done in empty.items() for reason in done.result()]
        wrong += [f"{trap}: {done.result()[1][-1000:]}" for trap, done in traps if not done.result()[0]]
    wrong += snippets.faults()

    print_table(rows)
    if wrong:
        print("\nNot so:\n" + "\n".join(wrong), file=sys.stderr)
        return True
    print(f"\nThe {len(empty)} consumers do what the page says where nothing was delivered yet. {len(TRAPS)} of the page's warnings are")
    print(f"true. {len(snippets.PARSERS)} configurations were checked for their syntax only, and not run: {', '.join(snippets.PARSERS)}.")
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
