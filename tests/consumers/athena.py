"""Creates the table of docs/consumers.md on the local AWS's Athena and runs the page's queries there.

That Athena is DuckDB over all files below the table's location, and `json_extract_scalar` is a macro of DuckDB. So what is proven
is that the statements are accepted and count right. The SerDe, the projection and Athena's own functions are not run. `events`,
which the page has in each query, is read by a query from here. sqlglot parses the statements as Athena's.
"""

import time
from pathlib import Path

import boto3
import page
import sqlglot
import yaml

# DuckDB has no such function, and has read `additionalInfo` as a struct.
MACRO = "CREATE MACRO json_extract_scalar(value, path) AS CAST(value AS JSON) ->> path;\n"
TEMPLATE = Path(__file__).parents[2] / "cloudformation" / "audit-log-export-role.yaml"


class Template(yaml.SafeLoader):
    """Reads the functions of CloudFormation as none."""


Template.add_multi_constructor("!", lambda loader, tag, node: None)


def athena(tenant):
    table, count, failed_logins, by_action = page.statements("Athena", tenant)
    assert isinstance(sqlglot.parse_one(table, dialect="athena"), sqlglot.exp.Create), "sqlglot takes the table for a command"
    for query in (count, failed_logins, by_action):
        assert isinstance(sqlglot.parse_one(query, dialect="athena"), sqlglot.exp.Select), query
    database = f"audit_logs_{tenant['tenant']}"
    boto3.client("glue").create_database(DatabaseInput={"Name": database})

    def run(statement):
        return execute(boto3.client("athena"), statement, database, tenant["bucket"])

    run(table)
    check_table(boto3.client("glue").get_table(DatabaseName=database, Name="audit_logs")["Table"], tenant)
    rows = 'id, "date", logtype, action'
    found = {"count": int(run(count)[0][0]), "delivered": run(f"SELECT {rows} FROM audit_logs")}
    if not found["delivered"]:
        # Without files, all columns of this Athena are text, and a struct's field can't be named.
        return found
    return {
        **found,
        "failedLogins": run(MACRO + failed_logins),
        "byAction": run(by_action),
        "events": run(
            f'SELECT DISTINCT {rows}, "user".name, CAST(CAST(additionalinfo AS JSON) AS VARCHAR) FROM audit_logs '
            "WHERE NOT (logtype = 'System' AND action = 'Audit Log Export Completed')"
        ),
    }


def check_table(table, tenant):
    """The page's table and the one that the customer's stack makes are the same."""
    stack = yaml.load(TEMPLATE.read_text(), Template)["Resources"]["Table"]["Properties"]["TableInput"]
    storage, parameters = table["StorageDescriptor"], table["Parameters"]

    def columns(listed):
        return [(column["Name"], column["Type"]) for column in listed]

    assert table["Name"] == stack["Name"], table
    assert columns(storage["Columns"]) == columns(stack["StorageDescriptor"]["Columns"]), storage
    assert columns(table["PartitionKeys"]) == columns(stack["PartitionKeys"]), table
    serde = stack["StorageDescriptor"]["SerdeInfo"]
    # Athena adds this property itself.
    properties = {name: value for name, value in storage["SerdeInfo"]["Parameters"].items() if name != "serialization.format"}
    assert (storage["SerdeInfo"]["SerializationLibrary"], properties) == (serde["SerializationLibrary"], serde["Parameters"]), storage
    fixed = {name: value for name, value in stack["Parameters"].items() if value is not None}
    assert fixed.items() <= parameters.items(), parameters
    # Athena adds the time of the statement.
    assert parameters.keys() - {"transient_lastDdlTime"} == stack["Parameters"].keys(), parameters
    folder = f"s3://{tenant['bucket']}/{tenant['folder']}"
    template = parameters["storage.location.template"]
    assert template.replace("${tenant}", tenant["tenant"]) == folder + "dt=${dt}/", template
    assert template.startswith(storage["Location"]), storage


def execute(client, statement, database, bucket):
    """The rows of a statement, without the row of names that those of a query begin with."""
    started = client.start_query_execution(
        QueryString=statement, QueryExecutionContext={"Database": database},
        ResultConfiguration={"OutputLocation": f"s3://{bucket}/athena-results/"},
    )
    execution = {"QueryExecutionId": started["QueryExecutionId"]}
    for _ in range(600):
        started = client.get_query_execution(**execution)["QueryExecution"]
        status = started["Status"]
        if status["State"] not in ("QUEUED", "RUNNING"):
            break
        time.sleep(0.05)
    assert status["State"] == "SUCCEEDED", f"{statement}: {status}"
    rows = []
    for found in client.get_paginator("get_query_results").paginate(**execution):
        rows += [[cell.get("VarCharValue") for cell in row["Data"]] for row in found["ResultSet"]["Rows"]]
    return rows[1:] if started["StatementType"] == "DML" else rows
