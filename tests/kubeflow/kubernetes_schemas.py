"""JSON schemas of Kubernetes' own kinds, from the OpenAPI models of its Python client.

The client (in the lock, as kfp needs it) is generated from Kubernetes' OpenAPI document. Fields
that the document does not know are an error here, as `kubectl apply --validate=strict` has it.
"""

import functools
import re
from typing import Any

import jsonschema
from kubernetes import client
from kubernetes.client import models

_SIMPLE: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string"},
    "object": {},
}
# Ports may be numbers or names, quantities texts or numbers, in every field of these names.
_INT_OR_TEXT = {"port", "targetPort", "maxUnavailable", "minAvailable", "maxSurge", "endPort"}


def model_name(document: dict[str, Any]) -> str:
    """The client's model of a document, as `V1Deployment`; "" for a kind of somebody else."""
    group, _, version = document["apiVersion"].rpartition("/")
    if "." in group and not group.endswith(".k8s.io"):
        return ""
    name = f"{version[0].upper()}{version[1:]}{document['kind']}"
    return name if hasattr(models, name) else ""


def check(document: dict[str, Any], kind: str) -> None:
    """Raises `jsonschema.ValidationError` where a document does not fit a model of the client."""
    jsonschema.Draft202012Validator(schema_of(kind)).validate(document)


@functools.cache
def schema_of(kind: str) -> dict[str, Any]:
    """JSON schema of a type as the client names it: `V1Pod`, `list[str]`, `dict(str, str)`."""
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if inner := re.fullmatch(r"list\[(.+)\]", kind):
        return {"type": "array", "items": schema_of(inner.group(1))}
    if inner := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {"type": "object", "additionalProperties": schema_of(inner.group(1))}
    model = getattr(models, kind)
    properties = {}
    for attribute, name in model.attribute_map.items():
        field = model.openapi_types[attribute]
        if field in ("object", "str", "int") and name in _INT_OR_TEXT:
            properties[name] = {"type": ["string", "integer"]}
        else:
            properties[name] = schema_of(field)
    return {
        "type": "object",
        "properties": properties,
        "required": [
            name
            for attribute, name in model.attribute_map.items()
            if _is_required(model, attribute)
        ],
        "additionalProperties": False,
    }


def _is_required(model: type, attribute: str) -> bool:
    """Whether the client refuses None for an attribute."""
    configuration = client.Configuration()
    configuration.client_side_validation = True
    blank = object.__new__(model)
    blank.local_vars_configuration = configuration
    try:
        setattr(blank, attribute, None)
    except ValueError:
        return True
    return False
