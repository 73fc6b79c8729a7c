"""A run by itself waits for nothing."""

from __future__ import annotations

import asyncio

from loadgen.control.pace import RunPace, Unpaced


def test_a_run_by_itself_begins_as_soon_as_all_processes_can() -> None:
    pace: RunPace = Unpaced()
    assert asyncio.run(pace.start()) is None


def test_a_run_by_itself_holds_at_once() -> None:
    async def turns() -> bool:
        opened = asyncio.ensure_future(Unpaced().opened())
        await asyncio.sleep(0)
        return opened.done()

    assert asyncio.run(turns())


def test_no_other_host_connects_to_the_sinks_of_a_run_by_itself() -> None:
    assert asyncio.run(Unpaced().drained()) == 0


def test_the_sinks_of_a_run_by_itself_close_at_once() -> None:
    async def turns() -> bool:
        closing = asyncio.ensure_future(Unpaced().closing())
        await asyncio.sleep(0)
        return closing.done()

    assert asyncio.run(turns())
