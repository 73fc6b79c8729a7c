"""Capacity: the resources of this host that a scenario needs, the limit that is met first, and the plan of a run.

Pure arithmetic on the facts of `loadgen.kernel.host` and `loadgen.kernel.limits`.
"""

from loadgen.capacity.allowances import Allowances
from loadgen.capacity.assessment import Assessment
from loadgen.capacity.demands import KERNEL_BYTES_PER_END, PROCESS_BYTES, USER_BYTES_PER_END
from loadgen.capacity.plan import assess, make_plan, sink_endpoints
from loadgen.capacity.processes import RESERVED_DESCRIPTORS
from loadgen.capacity.resources import Resource, Shortage

__all__ = [
    "KERNEL_BYTES_PER_END",
    "PROCESS_BYTES",
    "RESERVED_DESCRIPTORS",
    "USER_BYTES_PER_END",
    "Allowances",
    "Assessment",
    "Resource",
    "Shortage",
    "assess",
    "make_plan",
    "sink_endpoints",
]
