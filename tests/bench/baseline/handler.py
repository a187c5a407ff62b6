"""The export as a competent engineer writes it in a day, in Python with boto3.

It reads the same tables and delivers the same events to the same keys as the exporter. It does less: it checks neither
settings nor events, conditions no write and stores no receipts. It uses the faster of Python's ways: clients and not
resources, events as stored text without parsing, a page joined and encoded at once, files and not memory, and uploads in
parts by the transfer manager.
"""

import gzip
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import boto3
from botocore.config import Config

TENANTS = os.environ["TENANTS_TABLE"]
EVENTS = os.environ["EVENTS_TABLE"]
WORKERS = int(os.environ.get("MAX_CONCURRENT_EXPORTS", "64"))

dynamodb = boto3.client("dynamodb", config=Config(max_pool_connections=WORKERS))
sts = boto3.client("sts", config=Config(max_pool_connections=WORKERS))


def handler(event):
    tick = f"{event['time'][:13]}:00:00Z"
    with ThreadPoolExecutor(WORKERS) as pool:
        due = [tenant for shard in pool.map(lambda shard: due_in(shard, tick), "0123456789abcdef") for tenant in shard]
        counts = list(pool.map(export, due))
    return {"due": len(due), "events": sum(counts)}


def due_in(shard, tick):
    pages = dynamodb.get_paginator("query").paginate(
        TableName=TENANTS,
        IndexName="due",
        KeyConditionExpression="due_shard = :shard AND next_due <= :tick",
        ExpressionAttributeValues={":shard": {"S": shard}, ":tick": {"S": tick}},
    )
    return [item["tenant_id"]["S"] for page in pages for item in page["Items"]]


def export(tenant):
    config, watermark = records(tenant)
    start, end = watermark["exported_until"], watermark["next_due"]
    bucket = bucket_of(tenant, config)
    compressed = config.get("compression") == "gzip"
    with tempfile.TemporaryFile() as file:
        if compressed:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0) as out:
                count = write_events(out, tenant, config, start, end)
        else:
            count = write_events(file, tenant, config, start, end)
        file.seek(0)
        bucket.upload_fileobj(
            file,
            config["bucket"],
            key(tenant, config, start, end, compressed),
            ExtraArgs={"ContentType": "application/json"},
        )
    due = datetime.fromisoformat(end) + timedelta(hours=int(config["frequency_hours"]))
    dynamodb.update_item(
        TableName=TENANTS,
        Key={"tenant_id": {"S": tenant}, "record": {"S": "watermark"}},
        UpdateExpression="SET exported_until = :until, next_due = :due",
        ExpressionAttributeValues={":until": {"S": end}, ":due": {"S": due.strftime("%Y-%m-%dT%H:%M:%SZ")}},
    )
    return count


def records(tenant):
    keys = [{"tenant_id": {"S": tenant}, "record": {"S": record}} for record in ("config", "watermark")]
    found = dynamodb.batch_get_item(RequestItems={TENANTS: {"Keys": keys, "ConsistentRead": True}})
    plain = [{name: next(iter(value.values())) for name, value in item.items()} for item in found["Responses"][TENANTS]]
    by_record = {item["record"]: item for item in plain}
    return by_record["config"], by_record["watermark"]


def bucket_of(tenant, config):
    credentials = sts.assume_role(
        RoleArn=config["role_arn"],
        RoleSessionName=f"{tenant}-export",
        ExternalId=config["external_id"],
        DurationSeconds=900,
    )["Credentials"]
    session = boto3.Session(
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["SessionToken"],
        region_name=config["region"],
    )
    return session.client("s3")


def write_events(out, tenant, config, start, end):
    count = 0
    out.write(b"[\n")
    for shard in range(int(config.get("event_shards", "1"))):
        pages = dynamodb.get_paginator("query").paginate(
            TableName=EVENTS,
            KeyConditionExpression="tenant_shard = :shard AND recorded_at_id BETWEEN :from AND :to",
            ExpressionAttributeValues={
                ":shard": {"S": f"{tenant}#{shard}"},
                ":from": {"S": milliseconds(start)},
                ":to": {"S": milliseconds(end)},
            },
            ConsistentRead=True,
        )
        for page in pages:
            if page["Items"]:
                lines = ",\n".join([item["event"]["S"] for item in page["Items"]])
                out.write((",\n" if count else "").encode() + lines.encode())
                count += len(page["Items"])
    out.write(b"\n]\n")
    return count


def milliseconds(instant):
    return instant.replace("Z", ".000Z")


def key(tenant, config, start, end, compressed):
    window = f"{compact(start)}_{compact(end)}"
    folder = f"{config['prefix']}/audit-logs/tenant={tenant}/dt={start[:10]}"
    return f"{folder}/{window}_0001.json{'.gz' if compressed else ''}"


def compact(instant):
    return instant.replace("-", "").replace(":", "")
