"""The way from an async door into the bounded thread pool where blocking calls run."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import ParamSpec, TypeVar

__all__ = ["in_pool"]

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")


async def in_pool(
    executor: Executor, call: Callable[_Given, _Made], *args: _Given.args, **kwargs: _Given.kwargs
) -> _Made:
    """Run a blocking call in `executor` and wait for it without blocking the event loop."""
    return await asyncio.get_running_loop().run_in_executor(executor, partial(call, *args, **kwargs))
