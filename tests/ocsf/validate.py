"""Holds events in OCSF against the schema of OCSF, by an implementation of it that is not this project's.

The example `ocsf` of functions/core prints native events and what they are in OCSF: by the shipped mapping, and by one with all
activities of all classes, as the schema has them. Each is validated, and its native event is rebuilt by the code of docs/ocsf.md.
Then events with one fault each are to be refused. The classes and activities of class.rs are compared with the schema's.

usage: validate.py EXAMPLE
"""

import copy
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

ROOT = Path(__file__).parents[2]
MAPPING = ROOT / "functions/schema/ocsf.json"
PAGE = ROOT / "docs/ocsf.md"
CLASS_RS = ROOT / "functions/core/src/ocsf/class.rs"
VERSION = "1.8.0"
GENERATED = 4_000
UNKNOWN, OTHER = 0, 99
CLASS_UIDS = [0, 3001, 3002, 3004, 6002, 6003, 6007]
FAULTS = {
    "a required attribute is missing", "an unknown attribute", "an attribute of another class", "not an address",
    "an attribute of a profile that isn't named", "a wrong type_uid", "a wrong class_uid", "a value that the enum lacks",
    "a value of another type", "another version",
}

RAW = get_ocsf_schema(VERSION)
SCHEMA = OcsfJsonSchemaEmbedded(RAW)
CLASSES = {raw["uid"]: (name, raw) for name, raw in RAW["classes"].items()}


@cache
def validator(class_uid, profiles):
    name, _ = CLASSES[class_uid]
    schema = SCHEMA.get_class_schema(name, list(profiles))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def captions(class_uid):
    """The activities of a class: caption by id."""
    return {int(id): value["caption"] for id, value in CLASSES[class_uid][1]["attributes"]["activity_id"]["enum"].items()}


def faults(event):
    """What is wrong with an event."""
    if event.get("class_uid") not in CLASSES:
        return [f"no class has the uid {event.get('class_uid')}"]
    class_uid = event["class_uid"]
    metadata = event.get("metadata")
    profiles = metadata.get("profiles", []) if isinstance(metadata, dict) else []
    found = [f"{error.json_path}: {error.message[:200]}" for error in validator(class_uid, tuple(profiles)).iter_errors(event)]
    # A JSON Schema compares no attributes with each other.
    if found:
        return found
    activity = event["activity_id"]
    expected = {"type_uid": class_uid * 100 + activity, "class_name": CLASSES[class_uid][1]["caption"]}
    if activity != OTHER:
        expected["activity_name"] = captions(class_uid)[activity]
    expected["metadata"] = {**metadata, "version": VERSION}
    return [f"{name} is {event.get(name)!r} and not {value!r}" for name, value in expected.items() if event.get(name) != value]


def rebuilding():
    """The function of docs/ocsf.md."""
    names = {}
    exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)[1], names)
    return names["native_event"]


def exact(text):
    """JSON with its numbers as they are written."""
    return json.loads(text, parse_int=lambda digits: ("number", digits), parse_float=lambda digits: ("number", digits))


def printed(example, mapping, generated):
    """Pairs of native and OCSF events, as they are written."""
    done = subprocess.run([example, mapping, str(generated)], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().splitlines()


def all_activities():
    """A mapping with an action for each activity of the classes."""
    actions = {
        f"{CLASSES[uid][1]['caption']} {caption}": {"class": CLASSES[uid][1]["caption"], "activity": caption}
        for uid in CLASS_UIDS for caption in captions(uid).values()
    }
    log_type = {"object": {"type": "Object", "uid": ["key"]}, "actions": actions}
    return {"product": {"name": "Test"}, "addresses": ["ip"], "logTypes": {"Activities": log_type}}


def class_rs():
    """The activities of each class, as class.rs has them."""
    code = CLASS_RS.read_text()
    activities = {
        name: {int(id): caption for caption, id in re.findall(r'\("([^"]+)", (\d+)\)', listed)}
        for name, listed in re.findall(r"Self::(\w+) => &\[(.*?)\]", code, re.S)
    }
    return {int(uid): activities[name] for name, uid in re.findall(r"Self::(\w+) => (\d+),", code)}


def mutations(event):
    """Copies of a valid event with one fault each, by the kind of fault."""
    def changed(change):
        copied = copy.deepcopy(event)
        change(copied)
        return copied

    for name in validator(event["class_uid"], ()).schema["required"]:
        yield "a required attribute is missing", changed(lambda event: event.pop(name))
    yield "a required attribute is missing", changed(lambda event: event["metadata"].pop("product"))
    yield "an unknown attribute", changed(lambda event: event.update(logType="Scan"))
    yield "an unknown attribute", changed(lambda event: event["metadata"].update(logType="Scan"))
    yield "an attribute of another class", changed(lambda event: event.update(file={"name": "a", "type_id": 1}))
    if "actor" in event:
        yield "an unknown attribute", changed(lambda event: event["actor"]["user"].update(email="a@acme.example"))
        yield "not an address", changed(lambda event: event["actor"]["user"].update(email_addr="nobody"))
    if "profiles" in event["metadata"]:
        yield "an attribute of a profile that isn't named", changed(lambda event: event["metadata"].pop("profiles"))
    if "src_endpoint" in event:
        yield "not an address", changed(lambda event: event["src_endpoint"].update(ip="localhost"))
    activities = captions(event["class_uid"])
    other = next(id for id in activities if id != event["activity_id"])
    yield "a wrong type_uid", changed(lambda event: event.update(type_uid=event["class_uid"] * 100 + other))
    yield "a wrong type_uid", changed(lambda event: event.update(type_uid=event["type_uid"] + 50))
    yield "a wrong class_uid", changed(lambda event: event.update(class_uid=4001))
    yield "a value that the enum lacks", changed(lambda event: event.update(activity_id=55))
    yield "a value that the enum lacks", changed(lambda event: event.update(severity_id=7))
    yield "a value of another type", changed(lambda event: event.update(time="2026-11-21T10:03:12.345Z"))
    yield "a value of another type", changed(lambda event: event.update(severity_id="1"))
    yield "a value of another type", changed(lambda event: event.update(unmapped=[]))
    yield "another version", changed(lambda event: event["metadata"].update(version="1.7.0"))


def main(example):
    native_event = rebuilding()
    seen, valid, samples, complaints = Counter(), Counter(), {}, []
    expected = {uid: {id: name for id, name in captions(uid).items() if id not in (UNKNOWN, OTHER)} for uid in CLASS_UIDS}
    if class_rs() != expected:
        complaints.append(f"class.rs has {class_rs()}\n    the schema has {expected}")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as activities:
        json.dump(all_activities(), activities)
        activities.flush()
        lines = printed(example, MAPPING, GENERATED) + printed(example, activities.name, GENERATED)
    for line in lines:
        event = json.loads(line)["ocsf"]
        found = faults(event)
        pair = exact(line)
        if native_event(pair["ocsf"]) != pair["native"]:
            found.append("the native event can't be rebuilt")
        seen[event.get("class_uid")] += 1
        valid[event.get("class_uid")] += not found
        if found:
            complaints.append(f"{found[0]}\n    {line}")
        else:
            samples[event["class_uid"], event["activity_id"], len(event)] = event

    print(f"{'OCSF ' + VERSION:<30} {'uid':>5} {'events':>7} {'valid':>7}")
    for uid in CLASS_UIDS:
        print(f"{CLASSES[uid][1]['caption']:<30} {uid:>5} {seen[uid]:>7} {valid[uid]:>7}")
    for complaint in complaints[:5]:
        print(complaint)
    missing = {(uid, activity) for uid in CLASS_UIDS for activity in captions(uid)} - {sample[:2] for sample in samples}
    for uid, activity in sorted(missing):
        print(f"No event has the activity {captions(uid)[activity]} of {CLASSES[uid][1]['caption']}")

    made, refused = Counter(), Counter()
    for event in samples.values():
        for kind, mutated in mutations(event):
            made[kind] += 1
            refused[kind] += bool(faults(mutated))
    print(f"\n{'events with one fault':<43} {'made':>7} {'refused':>7}")
    for kind in made:
        print(f"{kind:<43} {made[kind]:>7} {refused[kind]:>7}")
    sys.exit(bool(complaints or missing or made != refused or set(made) != FAULTS))


main(*sys.argv[1:])
