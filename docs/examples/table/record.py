"""Puts audit events straight into the events table. Needs `boto3`."""

import json
import os
import threading
import time
import uuid
from datetime import datetime, timezone

import boto3
from botocore.config import Config

# An attempt takes at most 8 seconds, so none is under way 25 seconds after the stamp: less than half of SETTLE_SECONDS.
LAST_ATTEMPT_SECONDS = 17
RETRIES = {"mode": "standard", "total_max_attempts": 3}
KEPT_SECONDS = 90 * 86_400  # at least EventsRetentionDays; if that is 0, leave expires_at out
session = boto3.Session()
dynamodb = session.resource("dynamodb", config=Config(connect_timeout=3, read_timeout=5, retries=RETRIES))
write = threading.local()


def give_up(**_):
    if time.monotonic() - write.started > LAST_ATTEMPT_SECONDS:
        raise TimeoutError("the write is given up")


dynamodb.meta.client.meta.events.register("before-send.dynamodb.PutItem", give_up)


def record(event, tenant):
    """To repeat a write that failed, call this again: it makes a new stamp. The event may then be stored twice."""
    session.get_credentials().get_frozen_credentials()  # refreshes them before the stamp
    write.started = time.monotonic()
    now = datetime.now(timezone.utc)
    recorded_at = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    item = {
        "tenant_shard": f"{tenant}#0",
        "recorded_at_id": f"{recorded_at}#{event['id']}",
        "event": json.dumps({**event, "date": recorded_at}, allow_nan=False),
        "action": event["action"],
        "log_type": event["logType"],
        "expires_at": int(now.timestamp()) + KEPT_SECONDS,
    }
    if email := event["user"].get("email"):
        item["user_email"] = email
    dynamodb.Table(os.environ["EVENTS_TABLE"]).put_item(Item=item)


if __name__ == "__main__":
    login = {
        "id": str(uuid.uuid4()),
        "logType": "Authentication",
        "action": "Login",
        "user": {"id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example"},
        "additionalInfo": {"ip": "192.0.2.7", "mfa": True},
    }
    scan = {
        "id": str(uuid.uuid4()),
        "logType": "Scan",
        "action": "Scan Completed",
        "user": {"id": "system"},
        "additionalInfo": {},
    }
    for event in (login, scan):
        record(event, "acme")
