"""What docs/consumers.md warns of: each function returns whether it is so on one tenant's files.

usage: traps.py TRAP, with the tenant on the standard input.
"""

import gzip
import json
import sys

import engines


def files(tenant):
    return f"s3://{tenant['bucket']}/{tenant['folder']}dt=*/*"


def failure(read):
    """The text of the error that reading raises; empty if it reads."""
    try:
        read()
    except Exception as error:
        return str(error)
    return ""


def polars_scan_ndjson_fails_on_arrays(tenant):
    import polars

    return "('[')" in failure(polars.scan_ndjson(files(tenant)).collect)


def polars_scan_ndjson_drops_fields_or_fails(tenant):
    import polars

    def read():
        events = polars.scan_ndjson(files(tenant)).collect()
        [info] = events.filter(polars.col("id") == "large")["additionalInfo"]
        assert "text" not in info, "unexpected value"

    return "unexpected value" in failure(read)


def polars_text_may_not_be_json(tenant):
    import polars

    columns = {"id": polars.String, "additionalInfo": polars.String}
    [text] = polars.scan_ndjson(files(tenant), schema=columns).filter(polars.col("id") == "text").collect()["additionalInfo"]
    return "Invalid" in failure(lambda: json.loads(text))


def pyarrow_dataset_fails_on_a_field_of_two_types(tenant):
    import pyarrow
    import pyarrow.dataset

    columns = pyarrow.schema([("id", pyarrow.string()), ("date", pyarrow.string())])
    folder = f"s3://{tenant['bucket']}/{tenant['folder']}"

    def read(**schema):
        return pyarrow.dataset.dataset(folder, format="json", partitioning="hive", **schema).to_table()

    return "changed from" in failure(read) and "changed from" in failure(lambda: read(schema=columns))


def datafusion_does_not_read_objects_as_text(tenant):
    column = 'user STRUCT<id VARCHAR, name VARCHAR, email VARCHAR>'

    def change(text):
        return text.replace("'gzip'", "'uncompressed'").replace(column, f'{column}, "additionalInfo" VARCHAR')

    context = engines.run_datafusion(tenant, change)["context"]
    return "expected string got {" in failure(context.sql('SELECT "additionalInfo" FROM delivered').to_pylist)


def splitlines_splits_events(tenant):
    engines.copy(tenant)
    [text] = [text for text in map(engines.Path.read_text, engines.Path().glob("*/dt=*/*")) if '"id":"text"' in text]
    return len(text.splitlines()) > len(text.split("\n"))


def duckdb_guesses_types(tenant):
    run = engines.connect_duckdb()
    types = {name: kind for name, kind, *_ in run(f"DESCRIBE FROM read_json('{files(tenant)}')")}
    return types["date"] == "TIMESTAMP" and types["additionalInfo"].startswith(("STRUCT", "MAP"))


def athena_reads_lines_and_these_are_no_events(tenant):
    engines.copy(tenant)
    read = gzip.open if tenant["compression"] == "gzip" else open
    texts = [read(file, "rt", newline="\n").read() for file in engines.Path().glob("*/dt=*/*")]
    lines = [line for text in texts for line in text.split("\n")[:-1]]
    return lines[0] == "[" and lines[-1] == "]" and all("Extra data" in failure(lambda: json.loads(line)) for line in lines if line[-2:] == "},")


if __name__ == "__main__":
    tenant = json.load(sys.stdin)
    assert globals()[sys.argv[1]](tenant), "what the page warns of isn't so"
    print("true")
