"""Runs Prefect's own ECS worker, once for each line of standard input.

A line is {"env": {...}, "pool": "...", "worker": "..."}: the settings and the
names that one `prefect worker start --run-once` gets. After each run a line
{"error": null} goes to standard output; the servers that the settings name have
seen the rest. Everything else that is printed goes to standard error.

The first line of output says what the reference is: {"versions", "template"}.
One process serves all lines, because importing Prefect takes longer than a run.
What Prefect keeps between runs is made anew: the settings, and what would let a
run profit from the one before it.
"""

import asyncio
import json
import os
import sys

import prefect
import prefect.context
import prefect_aws
from prefect_aws import credentials
from prefect_aws.workers import ecs_worker


def renew(env: dict[str, str], given: set[str]) -> set[str]:
    """Makes this process look like one that was started with env."""
    for name in given - env.keys():
        os.environ.pop(name, None)
    os.environ.update(env)
    prefect.context.refresh_global_settings_context()
    credentials._get_client_cached.cache_clear()
    ecs_worker._TASK_DEFINITION_CACHE.clear()
    return set(env)


async def work(pool: str, name: str) -> None:
    worker = ecs_worker.ECSWorker(work_pool_name=pool, name=name)
    await asyncio.wait_for(worker.start(run_once=True), timeout=60)


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr
    about = {
        "versions": f"prefect {prefect.__version__}, prefect-aws {prefect_aws.__version__}",
        "template": ecs_worker.ECSWorker.get_default_base_job_template(),
    }
    print(json.dumps(about), file=answers, flush=True)
    given: set[str] = set()
    for line in sys.stdin:
        order = json.loads(line)
        given = renew(order["env"], given)
        error = None
        try:
            asyncio.run(work(order["pool"], order["worker"]))
        except BaseException as exc:  # the test tells what it means
            error = f"{type(exc).__name__}: {exc}"
        print(json.dumps({"error": error}), file=answers, flush=True)


if __name__ == "__main__":
    main()
