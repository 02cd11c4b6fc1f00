"""OpenAPI 3.1 of the route table; the schemas come from the very types that requests are decoded with."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

from server.http.problems import PROBLEM_TYPE, Problem

JSON = "application/json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PARAMETER = re.compile(r"\{(\w+)(?::((?:[^{}]|\{\d+(?:,\d+)?\})+))?\}")
_SCHEMAS = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes back when all is well."""

    description: str
    body: type | None = None
    content_type: str = ""
    """Of a body that no type describes; beside JSON where `body` describes that."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Header name → what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route. `path` is aiohttp's, parameters may carry patterns; GET answers HEAD too."""

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    answers: Mapping[int, Answer]
    problems: tuple[int, ...] = ()
    body: type | None = None
    body_type: str = ""
    """Content type of a request body that no type describes."""
    operator: bool = False
    """Tells of all viewers: only for who runs the server."""
    streams: bool = False
    """Sends media: as patient as the viewer is slow, rather than bounded by the request timeout."""

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it, without patterns."""
        return _PARAMETER.sub(r"{\1}", self.path)


def document(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """The whole description, ready for JSON."""
    endpoints = list(endpoints)
    types = _types(endpoints)
    described, components = msgspec.json.schema_components(types, ref_template=_SCHEMAS)
    schemas = dict(zip(types, described, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.template, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Toprung",
            "version": version,
            "summary": "Neural-enhanced adaptive video streaming: low rungs look better.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _types(endpoints: Iterable[Endpoint]) -> list[type]:
    bodies = [endpoint.body for endpoint in endpoints]
    answers = [answer.body for endpoint in endpoints for answer in endpoint.answers.values()]
    return list(dict.fromkeys([Problem, *(kind for kind in (*bodies, *answers) if kind is not None)]))


def _operation(endpoint: Endpoint, schemas: Mapping[type, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "responses": {str(status): _answer(answer, schemas) for status, answer in endpoint.answers.items()}
        | {str(status): _problem(status, schemas) for status in endpoint.problems}
        | {"default": _problem(None, schemas)},
    }
    parameters = [_parameter(name, pattern) for name, pattern in _PARAMETER.findall(endpoint.path)]
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas[endpoint.body]}}}
    elif endpoint.body_type:
        operation["requestBody"] = {"required": True, "content": {endpoint.body_type: {}}}
    return operation


def _parameter(name: str, pattern: str) -> dict[str, Any]:
    schema = {"type": "string"} | ({"pattern": f"^{pattern}$"} if pattern else {})
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _answer(answer: Answer, schemas: Mapping[type, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    content: dict[str, Any] = {} if answer.body is None else {JSON: {"schema": schemas[answer.body]}}
    content |= {answer.content_type: {}} if answer.content_type else {}
    return described | ({"content": content} if content else {})


def _problem(status: int | None, schemas: Mapping[type, Any]) -> dict[str, Any]:
    text = "Something went wrong." if status is None else HTTPStatus(status).phrase
    return {"description": text, "content": {PROBLEM_TYPE: {"schema": schemas[Problem]}}}
