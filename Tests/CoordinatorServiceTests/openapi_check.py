"""Holds a coordinator against the description of its API.

Usage: openapi_check.py DESCRIPTION URL: the description is valid itself, and so is the answer to each path and query that comes on
standard input. Prints a line for each answer: its status and its type.
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012


def read(answer):
    """The body, or of a stream the data of the first event."""
    if answer.headers.get_content_type() != "text/event-stream":
        return answer.read()
    fields = []
    while (line := answer.readline()) != b"\n":
        fields.append(line)
    assert b"event: change\n" in fields, fields
    return b"".join(line.removeprefix(b"data: ") for line in fields if line.startswith(b"data: "))


def matches(template, path):
    own, parts = template.split("/"), path.split("/")
    return len(own) == len(parts) and all(a == b or a.startswith("{") and b for a, b in zip(own, parts))


def main(description, url):
    with open(description, encoding="utf-8") as file:
        document = json.load(file)
    OpenAPIV31SpecValidator(document).validate()
    resource = Resource(contents=document, specification=DRAFT202012)
    registry = Registry().with_resource("urn:openapi", resource)
    for target in sys.stdin.read().split("\n"):
        if not target:
            continue
        path = urllib.parse.urlsplit(target).path
        template = next((template for template in document["paths"] if matches(template, path)), None)
        try:
            with urllib.request.urlopen(url + target, timeout=20) as answer:
                status, kind, body = answer.status, answer.headers.get_content_type(), read(answer)
        except urllib.error.HTTPError as error:
            status, kind, body = error.code, error.headers.get_content_type(), error.read()
        value = json.loads(body)
        if template is None:
            assert status == 404, f"{target}: {status}, but it is not described"
            schema = {"$ref": "urn:openapi#/components/schemas/error"}
        else:
            responses = document["paths"][template]["get"]["responses"]
            assert str(status) in responses, f"{target}: {status} is not described"
            response = responses[str(status)]
            if "$ref" in response:
                response = registry.resolver("urn:openapi").lookup(response["$ref"]).contents
            assert kind in response["content"], f"{target}: {kind} is not described"
            content = response["content"][kind]
            schema = {"$ref": "urn:openapi" + content.get("x-event-data", content["schema"])["$ref"]}
        validator = Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
        errors = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(value)]
        assert not errors, f"{target}: {errors[:3]}"
        print(status, value["type"])


if __name__ == "__main__":
    main(*sys.argv[1:])
