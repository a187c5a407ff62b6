"""Fails if the docs lack an error code of AWS, or have a command that the AWS CLI doesn't know.

Both are compared with botocore's models, which the AWS CLI is made of: "AWS's error codes" in docs/operations.md with the
errors of the operations that the functions call, and docs/obstacles.md with the CLI's operations and options. Run it with the
Python of the deployment tools, which has botocore.
"""

import html
import re
import shlex
import sys
from pathlib import Path

import botocore.session
from botocore import xform_name

ROOT = Path(__file__).parents[2]
OPERATIONS = {
    "STS": ("sts", ["AssumeRole"]),
    "S3": (
        "s3",
        [
            "PutObject",
            "CreateMultipartUpload",
            "UploadPart",
            "CompleteMultipartUpload",
            "AbortMultipartUpload",
            "GetObject",
            "ListObjectsV2",
            "DeleteObject",
        ],
    ),
    "DynamoDB": (
        "dynamodb",
        ["Query", "Scan", "GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"],
    ),
    "SQS": ("sqs", ["SendMessageBatch"]),
    "Lambda": ("lambda", ["Invoke"]),
    "EventBridge": ("events", ["PutEvents"]),
}
# S3 lists its codes without the operations. These belong to others than the ones above, or to SOAP and forms.
OTHERS_OF_S3 = """
    AmbiguousGrantByEmailAddress BucketAlreadyExists BucketAlreadyOwnedByYou BucketNotEmpty CredentialsNotSupported
    CrossLocationLoggingProhibited IllegalVersioningConfigurationException IncorrectNumberOfFilesInPostRequest
    InlineDataTooLarge InvalidAddressingHeader InvalidLocationConstraint InvalidPolicyDocument InvalidRange
    InvalidSOAPRequest InvalidTargetBucketForLogging MalformedACLError MalformedPOSTRequest
    MaxPostPreDataLengthExceededError MissingAttachment MissingSecurityElement NoLoggingStatusForKey NoSuchBucketPolicy
    NoSuchLifecycleConfiguration NoSuchVersion RequestIsNotMultiPartContent RequestTorrentOfBucketError
    RestoreAlreadyInProgress TooManyBuckets UnresolvableGrantByEmailAddress UserKeyMustBeSpecified
""".split()
GLOBAL_OPTIONS = {"region", "query", "output", "profile"}

session = botocore.session.get_session()


def text_of(documentation):
    return html.unescape(re.sub(r"<[^>]+>", " ", documentation))


def codes_of(service, operations):
    """The error codes that botocore's model of a service lists for some operations."""
    model = session.get_service_model(service)
    for operation in operations:
        for shape in model.operation_model(operation).error_shapes:
            yield shape.metadata.get("error", {}).get("code") or shape.name
    if service == "s3":
        listed = re.findall(r"\bCode:\s+([A-Z]\w+)\s+Description", text_of(model.shape_for("Error").members["Code"].documentation))
        yield from set(listed) - set(OTHERS_OF_S3)
        # S3 asks KMS for keys, and answers KMS's errors with this prefix.
        yield from ("KMS." + code for code in codes_of("kms", ["GenerateDataKey", "Decrypt"]))
    if service == "events":
        entry = model.shape_for("PutEventsResultEntry").members["ErrorCode"]
        yield from re.findall(r"\b([A-Z]\w+(?:Exception|Failure|Argument|Detail))\b", text_of(entry.documentation))


def documented_codes():
    """The codes of "AWS's error codes" by service."""
    section = (ROOT / "docs/operations.md").read_text().split("### AWS's error codes")[1].split("\n## ")[0]
    documented = {}
    for row in re.findall(r"^\| (.+) \|$", section, flags=re.M):
        cells = row.split(" | ")
        documented.setdefault(cells[0], []).extend(re.findall(r"`([^`]+)`", cells[-1]))
    return documented


def missing_codes():
    documented = documented_codes()
    for name, (service, operations) in OPERATIONS.items():
        known = documented[name] + documented["every service"]
        for code in sorted(set(codes_of(service, operations))):
            # A code that only an entry with `*` covers is one that AWS has added: somebody has to look at it.
            if code not in known:
                yield f"docs/operations.md lacks {code} of {name}"


def unknown_commands(page):
    blocks = re.findall(r"^```sh\n(.*?)^```", page, flags=re.S | re.M)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    # Commands in running text, with a code span of their own.
    lines += re.findall(r"`(aws [^`]+)`", page)
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[:1] != ["aws"]:
            continue
        service = {"s3api": "s3"}.get(words[1], words[1])
        model = session.get_service_model(service)
        operations = {xform_name(name).replace("_", "-"): name for name in model.operation_names}
        if words[2] not in operations:
            yield f"{words[1]} has no {words[2]}"
            continue
        members = model.operation_model(operations[words[2]]).input_shape
        options = {xform_name(name).replace("_", "-") for name in (members.members if members else {})} | GLOBAL_OPTIONS
        yield from (
            f"{words[1]} {words[2]} has no {word}" for word in words[3:] if word.startswith("--") and word[2:] not in options
        )


def main():
    page = (ROOT / "docs/obstacles.md").read_text()
    faults = list(missing_codes()) + [f"docs/obstacles.md: {fault}" for fault in unknown_commands(page)]
    print("\n".join(faults), end="\n" if faults else "")
    sys.exit(bool(faults))


main()
