"""Starts ministack, the local AWS, for the harness in `tests/src/local_aws.rs`.

It corrects ministack's IAM and its handling of templates, caches checksums, sets how often scheduled rules are evaluated,
and ends ministack with the harness. ministack has no settings for these.
"""

import functools
import json
import os
import re
import shutil
import signal
import sys
import threading

# Has all files of the local AWS, and is removed at its end. Without the variable, the launcher fails.
STATE_DIR = os.environ["STATE_DIR"]


def end_with_the_harness():
    """Waits until stdin closes, then removes the files and kills the process group.

    The harness has the other end of the pipe. The kernel closes it however the harness ends, also by SIGKILL. The group
    includes the functions' processes. They have nothing to save, so SIGKILL is safe.
    """
    while os.read(sys.stdin.fileno(), 1024):
        pass
    shutil.rmtree(STATE_DIR, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)


def correct_condition_keys():
    """Gives four condition keys the values that they have on AWS.

    For a role's session, `aws:PrincipalArn` is the role's ARN. ministack has the session's ARN
    (`arn:aws:sts::<account>:assumed-role/<role>/<session>`), so the customers' trust policy would refuse the exporter. A
    session's ARN lacks the role's path, so this is only correct for roles without a path.

    `aws:SecureTransport` is always true. Here all traffic is plain HTTP. On AWS it is TLS, and a bucket that demands TLS
    accepts deliveries.

    `lambda:SourceFunctionArn` is the function in whose environment a session was issued. A function's session has the name of
    the function, also on AWS. Here a session stands for one of the environment if its role and name are those of a function.

    `aws:ResourceOrgID` is the organization of the account of a role. Here an account is in an organization of its own once it
    has asked for one.

    Since the emulator is corrected, the tests use the template that customers deploy.
    """
    from ministack.core import iam_evaluator
    from ministack.services import lambda_svc

    resolve = iam_evaluator._resolve_condition_key

    def source_function(session):
        _, _, _, _, account, resource = session.split(":", 5)
        kind, role, name = (resource.split("/") + ["", ""])[:3]
        for function in [*lambda_svc._functions._data.values()] if kind == "assumed-role" else []:
            config = function["config"]
            arn = config["FunctionArn"].split(":")
            if (arn[4], config["FunctionName"], config["Role"].rsplit("/", 1)[-1]) == (account, name, role):
                return ":".join(arn[:7])
        return None

    def resolve_condition_key(key, ctx):
        if key.lower() == "aws:securetransport":
            return "true"
        if key.lower() == "lambda:sourcefunctionarn":
            return source_function(ctx.principal_arn)
        if key.lower() == "aws:resourceorgid":
            account = iam_evaluator._account_from_arn(ctx.resource_arn)
            return iam_evaluator._principal_org_id(account) if account else None
        value = resolve(key, ctx)
        if key.lower() == "aws:principalarn" and isinstance(value, str):
            arn = value.split(":", 5)
            if len(arn) == 6 and arn[2] == "sts" and arn[5].startswith("assumed-role/"):
                role = arn[5].split("/")[1]
                return f"arn:{arn[1]}:iam::{arn[4]}:role/{role}"
        return value

    iam_evaluator._resolve_condition_key = resolve_condition_key


def correct_actions():
    """Allows a batch of messages if a single message is allowed.

    IAM has no action for SQS's batches: SendMessageBatch is authorized as sqs:SendMessage, and the other two likewise
    ("Actions, resources, and condition keys for Amazon SQS" in the service authorization reference). ministack demands an
    action with the batch's name.
    """
    from ministack.core import iam_actions

    extract = iam_actions.extract_iam_action

    def extract_iam_action(*arguments, **named):
        action = extract(*arguments, **named)
        return action.removesuffix("Batch") if action and action.startswith("sqs:") else action

    iam_actions.extract_iam_action = extract_iam_action


def add_leading_keys():
    """Gives requests to DynamoDB the condition key `dynamodb:LeadingKeys`, which ministack lacks: their partition keys.

    Without it, a policy that names one tenant's keys would allow all. It knows the platform's two tables, not their indexes.
    """
    from ministack.core import iam_actions

    of_request = iam_actions.dynamodb_service_context

    def leading_keys(value):
        if isinstance(value, list):
            for item in value:
                yield from leading_keys(item)
        elif isinstance(value, dict):
            for name, item in value.items():
                if name in ("tenant_id", "tenant_shard") and isinstance(item, dict):
                    yield from item.values()
                else:
                    yield from leading_keys(item)

    def with_leading_keys(body):
        request = json.loads(body or b"{}")
        keys = list(leading_keys(request))
        queried = re.search(r"\b(?:tenant_id|tenant_shard) = (:\w+)", request.get("KeyConditionExpression", ""))
        if queried:
            keys += request["ExpressionAttributeValues"][queried[1]].values()
        return {**of_request(body), **({"dynamodb:LeadingKeys": keys} if keys else {})}

    iam_actions.dynamodb_service_context = with_leading_keys


def add_signing_keys():
    """Gives signatures by KMS the condition keys `kms:MessageType` and `kms:SigningAlgorithm`, which ministack lacks.

    Without them, the exporter may not sign. KMS also has the default of a request that names no type of message.
    """
    from ministack.core import iam_actions

    of_request = iam_actions.request_tag_context

    def with_signing_keys(service, action, body, *arguments):
        context = of_request(service, action, body, *arguments)
        if action == "kms:Sign":
            request = json.loads(body or b"{}")
            context = {
                **context,
                "kms:MessageType": request.get("MessageType", "RAW"),
                "kms:SigningAlgorithm": request.get("SigningAlgorithm", ""),
            }
        return context

    iam_actions.request_tag_context = with_signing_keys


def correct_templates():
    """Passes properties of templates on in the form that ministack reads later.

    ministack stores an HTTP API's CORS configuration and limits with CloudFormation's names (`AllowOrigins`) and reads them
    with the API's (`allowOrigins`), so it would refuse every preflight request. A parameter's value is always text, so a
    queue whose concurrency is a parameter would never be polled.
    """
    from ministack.services.cloudformation import provisioners

    def converted(name, value):
        if name in ("CorsConfiguration", "DefaultRouteSettings") and value:
            return provisioners._pascal_to_camel(value)
        if name == "ScalingConfig" and value:
            return {setting: int(number) for setting, number in value.items()}
        return value

    def corrected(handler):
        @functools.wraps(handler)
        def handle(*arguments, **named):
            converted_arguments = [
                {name: converted(name, value) for name, value in argument.items()}
                if isinstance(argument, dict)
                else argument
                for argument in arguments
            ]
            return handler(*converted_arguments, **named)

        return handle

    for resource in ("AWS::ApiGatewayV2::Api", "AWS::ApiGatewayV2::Stage", "AWS::Lambda::EventSourceMapping"):
        handlers = provisioners._RESOURCE_HANDLERS[resource]
        for operation in ("create", "update"):
            handlers[operation] = corrected(handlers[operation])


def add_api_destinations():
    """Lets templates make EventBridge's connections and API destinations, and posts to this machine without TLS.

    ministack has them in its API alone. On AWS, an API destination's URL is an https one. Here all traffic is plain HTTP.
    """
    from ministack.services import eventbridge
    from ministack.services.cloudformation import provisioners

    def succeeded(answer):
        status, _, body = answer
        if status >= 400:
            raise ValueError(body)
        return json.loads(body)

    for kind, name in (("Connection", "connection"), ("ApiDestination", "api_destination")):
        create, update, delete = (getattr(eventbridge, f"_{verb}_{name}") for verb in ("create", "update", "delete"))

        def create_resource(logical_id, properties, stack, create=create, arn=kind + "Arn"):
            named = {**properties, "Name": provisioners._physical_name(stack, logical_id, max_len=64)}
            return named["Name"], {"Arn": succeeded(create(named))[arn]}

        def update_resource(name, before, properties, stack, update=update, arn=kind + "Arn"):
            return name, {"Arn": succeeded(update({**properties, "Name": name}))[arn]}

        def delete_resource(name, properties, delete=delete):
            succeeded(delete({"Name": name}))

        handlers = {"create": create_resource, "update": update_resource, "delete": delete_resource}
        provisioners._RESOURCE_HANDLERS[f"AWS::Events::{kind}"] = handlers

    open_tls = eventbridge._http_open

    def open_plainly(request, *arguments):
        if request.full_url.startswith("https://127.0.0.1:"):
            request.full_url = "http" + request.full_url.removeprefix("https")
        return open_tls(request, *arguments)

    eventbridge._http_open = open_plainly


def cache_checksums():
    """Caches the CRC-64/NVME of large parts.

    ministack computes it in Python, which takes two seconds for a part. Tests send the same parts many times.
    """
    from ministack.services import s3

    compute = s3._crc64nvme
    cached = functools.lru_cache(maxsize=8)(compute)
    s3._crc64nvme = lambda body: cached(bytes(body)) if len(body) > 1 << 18 else compute(body)


def cache_expressions():
    """Caches the parsed expressions of requests to DynamoDB.

    ministack parses a query's condition again for each item of the partition.
    """
    from ministack.services import dynamodb

    for name in ("_tokenize", "_condition_syntax_error"):
        setattr(dynamodb, name, functools.lru_cache(maxsize=256)(getattr(dynamodb, name)))


def set_sweep_interval():
    """Sets how often scheduled rules are evaluated, in seconds."""
    from ministack.services import eventbridge

    eventbridge._SCHEDULER_TICK_INTERVAL = float(os.environ.get("EVENTBRIDGE_SWEEP_SECONDS", "10"))


if __name__ == "__main__":
    # The harness starts the launcher in its own process group. Started by hand, it must not kill the shell's group.
    if os.getpgrp() != os.getpid():
        os.setpgrp()
    threading.Thread(target=end_with_the_harness, daemon=True).start()
    correct_condition_keys()
    correct_actions()
    add_leading_keys()
    add_signing_keys()
    correct_templates()
    add_api_destinations()
    cache_checksums()
    cache_expressions()
    set_sweep_interval()
    from ministack.app import main

    main()
