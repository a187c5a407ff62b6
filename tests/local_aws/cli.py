"""Runs the AWS CLI's commands for `aws`, each in a fork of this process.

Starting the CLI takes more than half a second of a core. Here its modules are loaded already, and the services' models after
a service's first command. Stdin is a socket that listens. A connection brings stdin, stdout and stderr of a command, and its
directory, environment and arguments, and gets its status.
"""

import ast
import contextlib
import fcntl
import functools
import io
import os
import select
import signal
import socket
import sys
import traceback

from awscli.clidriver import create_clidriver

# Runs one command, in a fork.
DRIVER = create_clidriver()
# Loads models, and never runs a command: it would remember the command's profile and region.
LOADING = create_clidriver()
LOADING.session.register_component("data_loader", DRIVER.session.get_component("data_loader"))
# What the CLI's own package has set.
DATA_PATH = os.environ["AWS_DATA_PATH"]


@functools.cache
def load(command=""):
    """Loads what each command of a service reads."""
    service = "s3" if command == "s3api" else command
    session = LOADING.session
    # Only to be quick: the command says what is wrong.
    with contextlib.suppress(Exception, SystemExit), contextlib.redirect_stderr(io.StringIO()):
        session.create_client(service, "us-east-1", aws_access_key_id="none", aws_secret_access_key="none")
        session.get_paginator_model(service)
        # Refused, since the operation is missing.
        LOADING.main([command])


def receive(connection):
    """The files, and the rest of the request."""
    part, files, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    request = bytearray(part)
    while part := connection.recv(1 << 16):
        request += part
    return files, request.decode()


def run(directory, environment, arguments):
    """Runs a command and returns its status."""
    sys.argv = ["aws", *arguments]
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment, AWS_DATA_PATH=DATA_PATH)
    # It has read the configuration of its creator's environment.
    DRIVER.session._config = None
    try:
        return DRIVER.main(arguments) or 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def end_without(connection):
    """Ends this process if the other end of the connection is closed."""
    poll = select.poll()
    poll.register(connection, 0)
    if any(event & select.POLLHUP for _, event in poll.poll(0)):
        os._exit(1)


def serve(connection, files, command):
    """Runs a command in this process, which is a fork, and ends."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # The end of `aws` then ends this process, by SIGIO.
        fcntl.fcntl(connection, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(connection, fcntl.F_SETFL, os.O_ASYNC)
        signal.signal(signal.SIGIO, lambda *_: end_without(connection))
        end_without(connection)
        for number, file in enumerate(files):
            os.dup2(file, number)
        connection.sendall(b"%d" % run(*command))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


# Nobody waits for the forks.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
listener = socket.socket(fileno=0)
while True:
    connection, _ = listener.accept()
    with connection:
        files, request = receive(connection)
        # An `aws` that was killed may have sent a part, which is no tuple.
        with contextlib.suppress(SyntaxError):
            command = ast.literal_eval(request)
            load(*command[-1][:1])
            if not os.fork():
                serve(connection, files, command)
        for file in files:
            os.close(file)
