"""Runs the AWS CLI's commands for the harness in `tests/src/tools.rs`, all in one process.

Starting the CLI takes half a second of a core, and a command a hundredth. Stdin is a socket that listens. A connection sends
an account and the arguments as a JSON array, and gets the status, the output and the errors.
"""

import contextlib
import io
import json
import os
import socket

from awscli.clidriver import create_clidriver

# Each has its account's credentials. All share the loader, which caches the services' models.
DRIVERS = {}


def driver_of(account):
    os.environ["AWS_ACCESS_KEY_ID"] = account
    if account not in DRIVERS:
        DRIVERS[account] = create_clidriver()
        loader = next(iter(DRIVERS.values())).session.get_component("data_loader")
        DRIVERS[account].session.register_component("data_loader", loader)
    return DRIVERS[account]


def run(account, *arguments):
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            status = driver_of(account).main([*arguments])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return status, output.getvalue(), errors.getvalue()


listener = socket.socket(fileno=0)
while True:
    connection, _ = listener.accept()
    # The harness may have given the command up.
    with connection, contextlib.suppress(ConnectionError), connection.makefile("rw") as stream:
        if line := stream.readline():
            json.dump(run(*json.loads(line)), stream)
