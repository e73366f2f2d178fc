"""Answers lines of JSON, each a list of a kind and its argument, by what Prefect's own code says."""

import json
import logging
import re
import shlex
import sys

from slugify import slugify


def tag(text):
    return slugify(text, regex_pattern=r"[^a-zA-Z0-9_./=+:@-]", allow_unicode=True, lowercase=False)


def command(line):
    from prefect.utilities.processutils import command_from_string

    try:
        return {"words": command_from_string(line)}
    except ValueError as e:
        return {"error": str(e)}


def equal(pair):
    from prefect_aws.workers.ecs_worker import ECSWorker

    return ECSWorker._task_definitions_equal(None, pair[0], pair[1], logging.getLogger("none"))


def diagnosis(detail):
    from prefect_aws.observers.diagnostics import diagnose_ecs_task

    d = diagnose_ecs_task(detail)
    return "" if d is None else f"{d.summary}: {d.detail} Resolution: {d.resolution}"


def refusal(configuration):
    """pydantic's report, without the types and the address of the documentation."""
    from prefect_aws.workers.ecs_worker import ECSJobConfiguration

    try:
        ECSJobConfiguration(**configuration)
    except Exception as e:
        noise = r"(?s) \[type=[a-z_]+, input_value=.*?, input_type=\w+\]\n    For further information visit \S+"
        return f"{type(e).__name__}: {re.sub(noise, '', str(e))}"
    return ""


kinds = {"tag": tag, "command": command, "equal": equal, "diagnosis": diagnosis, "refusal": refusal}
for line in sys.stdin:
    kind, value = json.loads(line)
    print(json.dumps(kinds[kind](value)))
