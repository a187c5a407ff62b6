"""Runs one consumer's code of docs/consumers.md on one tenant's files, and prints what it finds.

usage: engines.py CONSUMER, with the tenant on the standard input. One process each, since some engines can be started only
once, and since they read credentials from the environment.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import page
from athena import athena  # noqa: F401, which is one of the consumers

FIELDS = ["id", "date", "logType", "action", "user.name"]


def duckdb(tenant):
    return sql(page.statements("DuckDB", tenant), connect_duckdb(), "id, date, logType, action", '"user".name, additionalInfo')


def duckdb_ocsf(tenant):
    key = "metadata.uid, metadata.original_time, metadata.log_name, metadata.event_code"
    return sql(page.statements("OCSF", tenant), connect_duckdb(), key, "actor->'user'->>'name', unmapped->'additionalInfo'")


def connect_duckdb():
    """A function that runs a statement on a DuckDB that reads the local AWS, with the extension's wheel."""
    import duckdb
    import duckdb_extension_httpfs

    [extension] = Path(duckdb_extension_httpfs.__file__).parent.glob("extensions/*/httpfs.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    names = {
        "KEY_ID": os.environ["AWS_ACCESS_KEY_ID"], "SECRET": os.environ["AWS_SECRET_ACCESS_KEY"], "REGION": os.environ["AWS_REGION"],
        "ENDPOINT": os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"), "URL_STYLE": "path", "USE_SSL": "false",
    }
    secret = ", ".join(f"{name} '{value}'" for name, value in names.items())
    connection.execute(f"CREATE SECRET (TYPE s3, {secret})")
    return lambda statement: connection.execute(statement).fetchall()


def clickhouse(tenant):
    from chdb import session

    chdb = session.Session()

    def run(statement):
        answer = chdb.query(statement, "JSONCompactEachRow")
        return [json.loads(line) for line in str(answer).splitlines() if line]

    return sql(page.statements("ClickHouse", tenant), run, "id, date, logType, action", "user.name, additionalInfo")


def sql(statements, run, key, content):
    *views, count, failed_logins, by_action = statements
    for view in views:
        run(view)
    return {
        "count": int(run(count)[0][0]),
        "failedLogins": run(failed_logins),
        "byAction": run(by_action),
        "delivered": run(f"SELECT {key} FROM delivered"),
        "events": run(f"SELECT {key}, {content} FROM events"),
    }


def run_python(heading, tenant, change=lambda text: text):
    names = {}
    exec(compile(change(page.code(heading, tenant, "python")), f"docs/consumers.md, {heading}", "exec"), names)
    return names


def polars(tenant):
    names = run_python("Polars", tenant)
    delivered = names["delivered"].select(FIELDS[:4]).collect().rows()
    events = names["events"].select([*FIELDS, "additionalInfo"]).rows()
    return {**found(names), "delivered": delivered, "events": events}


def pyarrow(tenant):
    names = run_python("PyArrow", tenant)
    return {**found(names), "delivered": values(names["delivered"].select(FIELDS[:4])), "events": values(names["events"].select(FIELDS))}


def datafusion(tenant):
    def options(text):
        text = text if tenant["compression"] == "gzip" else text.replace("'gzip'", "'uncompressed'")
        return text if tenant["format"] == "ndjson" else text.replace("'true'", "'false'")

    names = run_datafusion(tenant, options)
    run = names["context"].sql
    [[count]] = values(names["count"])
    delivered = values(run('SELECT id, date, "logType", action FROM delivered'))
    events = values(run('SELECT id, date, "logType", action, user_name FROM events'))
    return {**found(names), "count": count, "delivered": delivered, "events": events}


def run_datafusion(tenant, change):
    # The local AWS has no TLS.
    return run_python("DataFusion", tenant, lambda text: change(text).replace("AmazonS3(", "AmazonS3(allow_http=True, "))


def python(tenant):
    copy(tenant)
    names = run_python("Python's standard library", tenant)
    return {**found(names), **documents(names["delivered"], names["events"])}


def jq(tenant):
    copy(tenant)
    commands = page.code("jq and gzip", tenant, "sh").strip().split("\n\n")
    outputs = [[json.loads(line) for line in run_bash(command).splitlines()] for command in commands]
    _, _, [count], failed_logins, by_action = outputs
    delivered = [json.loads(line) for line in Path("delivered.ndjson").read_text().split("\n") if line]
    events = json.loads(Path("events.json").read_text())
    return {"count": count, "failedLogins": failed_logins, "byAction": by_action, **documents(delivered, events)}


def copy(tenant):
    run_bash(page.code("A local copy", tenant, "sh"))


def run_bash(commands):
    return subprocess.run(["bash", "-euo", "pipefail", "-c", commands], check=True, stdout=subprocess.PIPE, text=True).stdout


def documents(delivered, events):
    return {
        "delivered": [[event[name] for name in FIELDS[:4]] for event in delivered],
        "events": [[*(event[name] for name in FIELDS[:4]), event["user"]["name"], json.dumps(event["additionalInfo"])] for event in events],
    }


def found(names):
    """What the page's Python has in these variables."""
    return {"count": names["count"], "failedLogins": values(names["failed_logins"]), "byAction": values(names["by_action"])}


def values(rows):
    """Rows without the names of their columns."""
    rows = rows.to_pylist() if hasattr(rows, "to_pylist") else rows
    return [list(row.values()) if isinstance(row, dict) else list(row) for row in rows]


if __name__ == "__main__":
    result = globals()[sys.argv[1]](json.load(sys.stdin))
    print("\n" + json.dumps(result))
