"""Records an audit event through the queue. Needs `boto3`."""

import json
import os
import uuid

import boto3
from botocore.config import Config

# The SDK sends a message again if its answer is lost. The event's id makes that one event.
RETRIES = {"mode": "standard", "total_max_attempts": 6}
sqs = boto3.client("sqs", config=Config(connect_timeout=3, read_timeout=10, retries=RETRIES))


def record(event, tenant):
    body = json.dumps({"tenantId": tenant, "event": event}, allow_nan=False)
    sqs.send_message(QueueUrl=os.environ["INGESTION_QUEUE_URL"], MessageGroupId=tenant, MessageBody=body)


if __name__ == "__main__":
    login = {
        "id": str(uuid.uuid4()),
        "logType": "Authentication",
        "action": "Login",
        "user": {"id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example"},
        "additionalInfo": {"ip": "192.0.2.7", "mfa": True},
    }
    record(login, "acme")
