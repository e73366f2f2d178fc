"""The flow that the local stack runs first."""

import platform

from prefect import flow, get_run_logger, task


@task
def greet(name: str) -> str:
    return f"Hello {name}, from {platform.node()} with Python {platform.python_version()}"


@flow(log_prints=True)
def hello(name: str = "Fargate") -> str:
    greeting = greet(name)
    get_run_logger().info(greeting)
    return greeting
