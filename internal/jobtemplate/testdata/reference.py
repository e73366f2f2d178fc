"""Resolves cases with Prefect's own code, one JSON object a line.

Reads {"template", "deployment", "run", "blocks", "variables"} and answers
{"ok": configuration} or {"error": text}.
"""

import asyncio
import json
import sys
from types import SimpleNamespace

import httpx
from prefect.exceptions import ObjectNotFound
from prefect.workers.base import BaseJobConfiguration
from pydantic import ConfigDict


class Configuration(BaseJobConfiguration):
    model_config = ConfigDict(extra="allow")


class Client:
    def __init__(self, case):
        self.case = case

    def missing(self):
        request = httpx.Request("GET", "http://reference")
        response = httpx.Response(404, request=request)
        return ObjectNotFound(httpx.HTTPStatusError("404", request=request, response=response))

    async def read_block_document(self, id):
        if id not in self.case["blocks"]:
            raise self.missing()
        return SimpleNamespace(data=self.case["blocks"][id])

    async def read_block_document_by_name(self, name, block_type_slug):
        return await self.read_block_document(block_type_slug + "/" + name)

    async def read_variable_by_name(self, name):
        if name not in self.case["variables"]:
            return None
        return SimpleNamespace(value=self.case["variables"][name])


async def resolve(case):
    values = dict(case["deployment"])
    run = dict(case["run"])
    if isinstance(values.get("env"), dict):
        values["env"].update(run.pop("env", {}))
    values.update(run)
    result = await Configuration.from_template_and_values(
        base_job_template=case["template"], values=values, client=Client(case)
    )
    return result.model_dump(mode="json")


for line in sys.stdin:
    try:
        answer = {"ok": asyncio.run(resolve(json.loads(line)))}
    except Exception as problem:
        answer = {"error": f"{type(problem).__name__}: {problem}"}
    print(json.dumps(answer), flush=True)
