"""Makes the calls that come in as JSON lines, with boto3 as it is out of the box.

A line is {"service", "op", "args"}; the answer is {"result"} as boto3 parsed it,
or {"error": {"code", "message", "class", "modeled", "status"}}.
"""

import datetime
import json
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

clients = {}


def client(service):
    if service not in clients:
        clients[service] = boto3.client(service)
    return clients[service]


def call(request):
    on = client(request["service"])
    try:
        result = getattr(on, request["op"])(**request["args"])
    except ClientError as problem:
        error = problem.response["Error"]
        return {
            "error": {
                "code": error["Code"],
                "message": error["Message"],
                "class": type(problem).__name__,
                "text": str(problem),
                "status": problem.response["ResponseMetadata"]["HTTPStatusCode"],
                "resourceIds": problem.response.get("resourceIds"),
            }
        }
    except BotoCoreError as problem:
        return {"error": {"class": type(problem).__name__, "text": str(problem)}}
    metadata = result.pop("ResponseMetadata")
    result["retries"] = metadata["RetryAttempts"]
    return {"result": result}


def plain(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


for line in sys.stdin:
    print(json.dumps(call(json.loads(line)), default=plain), flush=True)
