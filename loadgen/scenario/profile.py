"""The phases of a load: `profile: {init, ramp, sustain, ramp_down}`, and the schedule that follows from them.

The phases are those of RFC 9411 4.3.4 (traffic load profile), less the last, in which results are collected: loadgen
does that all along. The lengths that a scenario leaves out are loadgen's own.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from loadgen.model import LoadProfile, Stage
from loadgen.scenario.fields import Duration, Model, within

#: Five minutes are five times what a port rests in TIME-WAIT, so that the rate after the ports ran out shows.
ON_HOST: Final = LoadProfile(init_s=5.0, ramp_s=30.0, sustain_s=300.0, ramp_down_s=30.0)
#: A lab is for a look in seconds, and has no path that learns addresses.
IN_LAB: Final = LoadProfile(init_s=0.0, ramp_s=1.0, sustain_s=10.0, ramp_down_s=1.0)


class ProfileSpec(Model):
    """The phases of the load: a pause, a rise, the part that is measured, a fall."""

    init_s: Annotated[Duration, AfterValidator(within("0s", "1h"))] | None = Field(
        None,
        alias="init",
        description="pause before the first connection, with nothing sent; left out: 5s, in a lab 0s",
        examples=["5s"],
    )
    ramp_s: Annotated[Duration, AfterValidator(within("0s", "8760h"))] | None = Field(
        None, alias="ramp", description="rise from 0 to arrival.rate; left out: 30s, in a lab 1s", examples=["30s"]
    )
    sustain_s: Annotated[Duration, AfterValidator(within("100ms", "8760h"))] | None = Field(
        None,
        alias="sustain",
        description="the part that is measured: the full rate, or all held; left out: 5m, in a lab 10s",
        examples=["5m"],
    )
    ramp_down_s: Annotated[Duration, AfterValidator(within("0s", "8760h"))] | None = Field(
        None,
        alias="ramp_down",
        description="fall of the rate to 0, or the time in which what is held is closed; left out: 30s, in a lab 1s",
        examples=["30s"],
    )

    def over(self, defaults: LoadProfile) -> LoadProfile:
        """Return the phases, those of `defaults` where the scenario has none."""
        written = {field.name: getattr(self, field.name) for field in dataclasses.fields(LoadProfile)}
        return dataclasses.replace(defaults, **{name: value for name, value in written.items() if value is not None})


def stages_of(rate_per_s: float, phases: LoadProfile, *, falls: bool) -> tuple[Stage, ...]:
    """Return the rate over time: a rise, the rate itself, and in churn a fall.

    falls: whether the schedule ends; held connections keep arriving at the rate until all are due.
    """
    rise = (Stage(0.0, rate_per_s, phases.ramp_s),) if phases.ramp_s else ()
    if not falls:
        return (*rise, Stage(rate_per_s, rate_per_s, None))
    fall = (Stage(rate_per_s, 0.0, phases.ramp_down_s),) if phases.ramp_down_s else ()
    return (*rise, Stage(rate_per_s, rate_per_s, phases.sustain_s), *fall)
