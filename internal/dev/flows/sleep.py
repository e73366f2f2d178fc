"""A flow that takes as long as it is told, to try restarts and cancellation on."""

import time

from prefect import flow, get_run_logger


@flow
def sleep(seconds: float = 60.0) -> None:
    logger = get_run_logger()
    logger.info("sleeping for %s s", seconds)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.2)
    logger.info("awake")
