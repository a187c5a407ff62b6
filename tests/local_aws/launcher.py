"""Starts ministack, the local AWS, for the harness in `tests/src/local_aws.rs`.

A launcher, and not plain `ministack`, for what its settings don't offer: two corrections of its
IAM, one of what it makes of templates, a memory for checksums, how often scheduled rules are looked at, and an end that
nobody has to remember.
"""

import functools
import os
import shutil
import signal
import sys
import threading

# Everything that the local AWS writes is in here, and goes with it. Read first: without it, refuse to start.
STATE_DIR = os.environ["STATE_DIR"]


def end_with_the_harness():
    """Waits for stdin to close, then removes what was written and kills the whole process group.

    The harness holds the other end of the pipe, and the kernel closes it however the harness ends, SIGKILL
    included. The group holds the functions' processes too; SIGKILL, since none of them has anything to save.
    """
    while os.read(sys.stdin.fileno(), 1024):
        pass
    shutil.rmtree(STATE_DIR, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def correct_condition_keys():
    """Lets two keys of policies' conditions hold what they hold on AWS.

    `aws:PrincipalArn` is, for a role's session, the role's ARN. ministack has the session's there
    (`arn:aws:sts::<account>:assumed-role/<role>/<session>`), so that the customers' trust policy, correct on
    AWS, would refuse the exporter. A role's path is not part of its session's ARN: this is right for roles
    without one.

    `aws:SecureTransport` is true. Here all traffic is plain HTTP on this machine; on AWS none of it is, and a
    bucket that demands TLS takes our deliveries.

    Correcting the emulator keeps the template that is tested the very one that customers deploy.
    """
    from ministack.core import iam_evaluator

    resolve = iam_evaluator._resolve_condition_key

    def resolve_condition_key(key, ctx):
        if key.lower() == "aws:securetransport":
            return "true"
        value = resolve(key, ctx)
        if key.lower() == "aws:principalarn" and isinstance(value, str):
            arn = value.split(":", 5)
            if len(arn) == 6 and arn[2] == "sts" and arn[5].startswith("assumed-role/"):
                role = arn[5].split("/")[1]
                return f"arn:{arn[1]}:iam::{arn[4]}:role/{role}"
        return value

    iam_evaluator._resolve_condition_key = resolve_condition_key


def correct_actions():
    """Lets a batch of messages be sent by whoever may send one.

    IAM has no action for SQS's batches: SendMessageBatch is authorized as sqs:SendMessage, and the other two likewise
    ("Actions, resources, and condition keys for Amazon SQS" in the service authorization reference). ministack asks
    for an action of the batch's name.
    """
    from ministack.core import iam_actions

    extract = iam_actions.extract_iam_action

    def extract_iam_action(*arguments, **named):
        action = extract(*arguments, **named)
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    iam_actions.extract_iam_action = extract_iam_action


def correct_templates():
    """Hands what a template says on in the shape in which ministack looks for it later.

    An HTTP API's CORS configuration and limits are kept under CloudFormation's names (`AllowOrigins`) and looked for
    under the API's (`allowOrigins`): every browser's preflight request would be refused. And a parameter's value is
    always text: a queue whose concurrency comes from one would never be polled.
    """
    from ministack.services.cloudformation import provisioners

    def in_shape(name, value):
        if name in ("CorsConfiguration", "DefaultRouteSettings") and value:
            return provisioners._pascal_to_camel(value)
        if name == "ScalingConfig" and value:
            return {setting: int(number) for setting, number in value.items()}
        return value

    def corrected(handler):
        @functools.wraps(handler)
        def handle(*arguments, **named):
            shaped = [
                {name: in_shape(name, value) for name, value in argument.items()}
                if isinstance(argument, dict)
                else argument
                for argument in arguments
            ]
            return handler(*shaped, **named)

        return handle

    for resource in ("AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage", "AWS::Lambda::EventSourceMapping"):
        handlers = provisioners._RESOURCE_HANDLERS[resource]
        for operation in ("create", "update"):
            handlers[operation] = corrected(handlers[operation])


def remember_checksums():
    """Computes the CRC-64/NVME of the same large bytes once.

    ministack does that in plain Python, two seconds for a part of an upload, and tests that deliver one window many
    times over send the same parts each time.
    """
    from ministack.services import s3

    compute = s3._crc64nvme
    remembered = functools.lru_cache(maxsize=8)(compute)
    s3._crc64nvme = lambda body: remembered(bytes(body)) if len(body) > 1 << 18 else compute(body)


def set_sweep_interval():
    """Sets how often scheduled rules are looked at, in seconds."""
    from ministack.services import eventbridge

    eventbridge._SCHEDULER_TICK_INTERVAL = float(os.environ.get("EVENTBRIDGE_SWEEP_SECONDS", "10"))


if __name__ == "__main__":
    # The harness starts it as its own group's leader already; started by hand, it must not take the shell along.
    if os.getpgrp() != os.getpid():
        os.setpgrp()
    threading.Thread(target=end_with_the_harness, daemon=True).start()
    correct_condition_keys()
    correct_actions()
    correct_templates()
    remember_checksums()
    set_sweep_interval()
    from ministack.app import main

    main()
