"""Records audit events over HTTP. Needs `requests`."""

import os
import random
import time
import uuid

import requests

ATTEMPTS = 7
RETRIED = (429, 500, 502, 503, 504)


def record(events, api, token):
    """Sends events, each with an id of its own, and returns the result of each."""
    for attempt in range(ATTEMPTS):
        retry_after = 0
        try:
            answer = requests.post(
                f"{api}/v1/events",
                json={"events": events},
                headers={"Authorization": f"Bearer {token}"},
                timeout=35,  # seconds; the API answers within 30
            )
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as lost:
            failure = str(lost)
        else:
            failure = f"{answer.status_code}: {answer.text}"
            if answer.status_code not in RETRIED:
                try:
                    return answer.json()["results"]
                except (ValueError, KeyError, TypeError):
                    refusal = f"the request is refused, {failure}; an earlier attempt may have stored events"
                    raise RuntimeError(refusal) from None
            header = answer.headers.get("Retry-After", "")
            retry_after = int(header) if header.isdecimal() else 0
        if attempt < ATTEMPTS - 1:
            time.sleep(max(retry_after, random.uniform(0.5, 1) * 2**attempt))
    raise RuntimeError(f"keep the events with their ids, and send them later: {failure}")


if __name__ == "__main__":
    login = {
        "id": str(uuid.uuid4()),
        "logType": "Authentication",
        "action": "Login",
        "user": {"id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example"},
        "additionalInfo": {"ip": "192.0.2.7", "mfa": True},
    }
    for result in record([login], os.environ["API"], os.environ["EVENTS_TOKEN"]):
        # Correct an event that is refused: sending it again doesn't help.
        print(result["status"], result.get("reason", ""))
