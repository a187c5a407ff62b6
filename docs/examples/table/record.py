"""Puts an audit event straight into the events table. Needs `boto3`."""

import json
import os
import uuid
from datetime import datetime, timezone

import boto3
from botocore.config import Config

# Three tries of at most 8 seconds, and at most 3 seconds between them: less than half of SETTLE_SECONDS.
RETRIES = {"mode": "standard", "total_max_attempts": 3}
dynamodb = boto3.resource("dynamodb", config=Config(connect_timeout=3, read_timeout=5, retries=RETRIES))
KEPT_SECONDS = 90 * 86_400


def record(event, tenant):
    """To repeat a write that failed, call this again: it makes a new stamp."""
    now = datetime.now(timezone.utc)
    recorded_at = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    dynamodb.Table(os.environ["EVENTS_TABLE"]).put_item(Item={
        "tenant_shard": f"{tenant}#0",
        "recorded_at_id": f"{recorded_at}#{event['id']}",
        "event": json.dumps({"id": event["id"], "date": recorded_at, **event}, allow_nan=False),
        "action": event["action"],
        "log_type": event["logType"],
        "user_email": event["user"]["email"],
        "expires_at": int(now.timestamp()) + KEPT_SECONDS,
    })


if __name__ == "__main__":
    login = {
        "id": str(uuid.uuid4()),
        "logType": "Authentication",
        "action": "Login",
        "user": {"id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example"},
        "additionalInfo": {"ip": "192.0.2.7", "mfa": True},
    }
    record(login, "acme")
