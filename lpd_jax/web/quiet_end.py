"""The log of a server that is stopped in a hurry: a second Ctrl-C is no defect."""

import logging

CANCELLED = "asyncio.exceptions.CancelledError"


def hush_cancelled() -> None:
    """From now on, uvicorn does not log the traceback of what a second Ctrl-C has cancelled."""
    logging.getLogger("uvicorn.error").addFilter(is_of_interest)


def is_of_interest(record: logging.LogRecord) -> bool:
    """Whether a record is anything but a traceback that ends with what was cancelled."""
    return not record.getMessage().rstrip().endswith(CANCELLED)
