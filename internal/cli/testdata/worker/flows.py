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
