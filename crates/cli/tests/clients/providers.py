"""The tools as the SDKs of model providers take them: each input schema through the SDK's own
converter and types, as an agent's program does before it calls a model. Nothing is sent anywhere.

Usage: providers.py URL
"""

import asyncio
import copy
import keyword
import sys

from google.genai import types
from google.genai._mcp_utils import mcp_to_gemini_tools
from mcp import Client
from openai.lib._pydantic import _ensure_strict_json_schema
from openai.types.responses import FunctionToolParam
from pydantic import TypeAdapter

# What strict function calling takes, as its guide "Structured outputs" lists it.
STRICT = {
    "type", "description", "properties", "required", "additionalProperties", "items", "enum", "anyOf",
    "pattern", "format", "minimum", "maximum", "minItems", "maxItems",
}


def keywords(schema):
    """The keywords of a schema and of all below it."""
    found = set(schema)
    for below in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        found |= keywords(below)
    return found


def strict(tool):
    """The tool as a strict function of OpenAI's."""
    schema = copy.deepcopy(tool.input_schema)
    schema = _ensure_strict_json_schema(schema, path=(), root=schema)
    assert schema["additionalProperties"] is False and set(schema["required"]) == set(schema["properties"])
    assert keywords(schema) <= STRICT, (tool.name, keywords(schema) - STRICT)
    function = {
        "type": "function", "name": tool.name, "description": tool.description, "parameters": schema, "strict": True,
    }
    TypeAdapter(FunctionToolParam).validate_python(function)


def declared(tool):
    """The tool as a function declaration of Gemini's: with its schema as `parameters`, whose fields
    are those of an OpenAPI subset and no others, and by way of the SDK's own converter."""
    parameters = types.Schema.model_validate(upper(tool.input_schema))
    assert parameters.model_dump(exclude_none=True, by_alias=True, mode="json") == upper(tool.input_schema)
    types.FunctionDeclaration(name=tool.name, description=tool.description, parameters=parameters)
    [declaration] = mcp_to_gemini_tools([tool])[0].function_declarations
    assert set(declaration.parameters.properties) == set(tool.input_schema["properties"]), tool.name
    assert declaration.parameters == parameters, (tool.name, "the converter leaves something out")


def upper(schema):
    """The schema with the types as Gemini spells them."""
    schema = {**schema, "type": schema["type"].upper()}
    if "properties" in schema:
        schema["properties"] = {name: upper(below) for name, below in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = upper(schema["items"])
    return schema


async def main(url):
    async with Client(url) as client:
        tools = (await client.list_tools()).tools
    for tool in tools:
        strict(tool)
        declared(tool)
        assert not any(map(keyword.iskeyword, tool.input_schema["properties"])), tool.name
    print(f"{len(tools)} tools taken by OpenAI's strict functions and Gemini's declarations")


asyncio.run(main(sys.argv[1]))
