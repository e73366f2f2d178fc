"""Resolves cases with Prefect's own code: JSON objects in, answers out, a line each.

A case is {"template", "deployment", "run", "blocks", "variables", "flow",
"flow_run"}. An answer is {"ok": {"configuration", "env", "labels", "command",
"name"}} or {"error": class, "text": message}. Numbers are answered as {"$n": repr},
since 1 and 1.0 are two things to Python.
"""

import asyncio
import copy
import json
import sys
import uuid
from types import SimpleNamespace

import httpx
from prefect.client.schemas.objects import Flow, FlowRun, WorkPool
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.utilities import templating
from prefect.workers.base import BaseJobConfiguration
from pydantic import PrivateAttr

# Where several placeholders stand in one text, Prefect fills them in the order of
# a set of strings, which changes from process to process, and may look through
# what it has just filled in. The order fixed here is one of the possible ones: what
# values refer to (the test's own rule: "$...", then "a") comes first, so that
# nothing that was filled in is looked through again.
find_placeholders = templating.find_placeholders
REFERRED = ("a", "prefect.blocks.secret.a", "prefect.variables.a")


def in_fixed_order(template):
    return sorted(
        find_placeholders(template),
        key=lambda p: (not p.name.startswith("$"), p.name not in REFERRED, p),
    )


class Recorded(BaseJobConfiguration):
    """Keeps what the template resolved to, before it is typed and stamped."""

    _raw: dict = PrivateAttr()
    _typed: dict = PrivateAttr()

    def __init__(self, **data):
        raw = copy.deepcopy(data)
        super().__init__(**data)
        self._raw = raw

    @classmethod
    def _base_environment(cls):
        return {}

    def prepare_for_flow_run(self, *args, **kwargs):
        typed = {
            "env": list(self.env.items()),
            "labels": dict(self.labels),
            "command": self.command,
        }
        super().prepare_for_flow_run(*args, **kwargs)
        self._typed = typed | {"name": str(self.name)}


class Client:
    def __init__(self, case):
        self.case = case

    async def read_deployment(self, id):
        return DeploymentResponse(
            id=id,
            name="deployment",
            flow_id=uuid.uuid4(),
            job_variables=self.case["deployment"],
        )

    async def read_flow(self, id):
        return Flow.model_validate(self.case["flow"])

    async def read_block_document(self, id):
        if id not in self.case["blocks"]:
            request = httpx.Request("GET", "http://reference")
            response = httpx.Response(404, request=request)
            error = httpx.HTTPStatusError("404", request=request, response=response)
            raise ObjectNotFound(error)
        return SimpleNamespace(data=self.case["blocks"][id])

    async def read_block_document_by_name(self, name, block_type_slug):
        return await self.read_block_document(block_type_slug + "/" + name)

    async def read_variable_by_name(self, name):
        if name not in self.case["variables"]:
            return None
        return SimpleNamespace(value=self.case["variables"][name])


async def resolve(case):
    flow_run = FlowRun.model_validate(case["flow_run"] | {"job_variables": case["run"]})
    if case["deployment"] is None:
        flow_run.deployment_id = None
    configuration = await Recorded.resolve_for_flow_run(
        flow_run,
        client=Client(case),
        work_pool=WorkPool(name="p", type="t", base_job_template=case["template"]),
        worker_name="w",
    )
    return {"configuration": configuration._raw, **configuration._typed}


def tagged(value):
    if isinstance(value, dict):
        return {key: tagged(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [tagged(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"$n": repr(value)}
    return value


async def main():
    templating.find_placeholders = in_fixed_order
    for line in sys.stdin:
        try:
            answer = {"ok": tagged(await resolve(json.loads(line)))}
        except Exception as problem:
            answer = {"error": type(problem).__name__, "text": str(problem)}
        print(json.dumps(answer))


asyncio.run(main())
