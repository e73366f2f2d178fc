"""Flows for the test against a real Prefect server."""

import os
import time

from prefect import flow


@flow(log_prints=True)
def ok():
    print("hello from the flow")


@flow
def die():
    os._exit(7)


@flow
def long():
    time.sleep(300)


@flow(log_prints=True)
def hold(file: str):
    """Talks, and waits until somebody makes the file."""
    while not os.path.exists(file):
        print("still here, and that has to go somewhere")
        time.sleep(0.2)
