"""Parses the configurations of docs/consumers.md that are not run."""

import configparser
import json
import re

import page
import sqlglot
import yaml


def parse_sql(dialect):
    def parse(text):
        for statement in sqlglot.parse(text, dialect=dialect):
            # What sqlglot doesn't understand is a command.
            assert not isinstance(statement, sqlglot.exp.Command), statement.sql()

    return parse


def parse_ini(text):
    configparser.ConfigParser(interpolation=None, strict=False).read_string(text)


PARSERS = {
    "Vector": ("yaml", yaml.safe_load),
    "Elastic": ("yaml", yaml.safe_load),
    "Splunk": ("ini", parse_ini),
    "Datadog": ("json", json.loads),
    "Panther": ("yaml", yaml.safe_load),
    # sqlglot knows no pipes, but what a pipe runs.
    "Snowflake": ("sql", lambda text: parse_sql("snowflake")(re.sub(r"CREATE PIPE .* AS\n", "", text))),
    "OpenTelemetry Collector": ("yaml", yaml.safe_load),
    "ClickHouse S3Queue": ("sql", parse_sql("clickhouse")),
}


def faults():
    """What is wrong with the page's configurations, or lacks one."""
    for name, (language, parse) in PARSERS.items():
        try:
            [(found, text)] = page.blocks(name)
            assert found == language, f"it has {found}"
            parse(text)
        except Exception as error:
            yield f"{name}: the configuration can't be parsed: {error}"
