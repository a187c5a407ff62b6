"""A Lambda runtime for handler.py: requests invocations from the Runtime API and answers them."""

import http.client
import json
import os
import traceback

import handler

RUNTIME = os.environ["AWS_LAMBDA_RUNTIME_API"]
INVOCATION = "/2018-06-01/runtime/invocation"


def main():
    connection = http.client.HTTPConnection(RUNTIME)
    while True:
        connection.request("GET", f"{INVOCATION}/next")
        response = connection.getresponse()
        event, request_id = json.load(response), response.headers["Lambda-Runtime-Aws-Request-Id"]
        try:
            outcome, answer = "response", handler.handler(event)
        except Exception as error:
            traceback.print_exc()
            outcome, answer = "error", {"errorMessage": str(error), "errorType": type(error).__name__}
        # The server may have closed it during a long invocation.
        connection.close()
        connection.request("POST", f"{INVOCATION}/{request_id}/{outcome}", json.dumps(answer))
        connection.getresponse().read()


if __name__ == "__main__":
    main()
