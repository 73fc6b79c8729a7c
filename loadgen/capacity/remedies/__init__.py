"""Changes that would move a limit, as values: settings of the scenario, sysctls, a command, and what they bring.

remedy      the value, and the figure that it claims to change
situation   what remedies are computed for, and the plan of the changed scenario
space       source ports: more of them, more from each, those that others hold
churn       TIME-WAIT, and the ceiling it puts on churn
search      the kernel's search for a free port
host        descriptors, memory, tables, processes, addresses
nat         ports of an address translation, and four-tuples that it uses again
peer        the other side and the way there

A figure is the difference of two plans, without the change and with it: what `loadgen plan --set ...` says, and no
promise beyond that. A change that loadgen would refuse is no remedy. `loadgen.capacity.limits` says which of these
functions belong to which limit.
"""

from loadgen.capacity.remedies.churn import end_time_wait
from loadgen.capacity.remedies.host import (
    add_source_address,
    fewer_processes,
    more_descriptors,
    more_memory,
    more_neighbours,
    more_tracking,
    more_watches,
)
from loadgen.capacity.remedies.nat import more_nat_ports, outlast_time_wait
from loadgen.capacity.remedies.peer import (
    faster_accept,
    find_loss,
    find_silence,
    leave_target_ports,
    look_at_losses,
    mend_tls,
    sentences,
    start_server,
    wait_for_answers,
    wider_path,
    wider_window,
)
from loadgen.capacity.remedies.remedy import Claim, Quantity, Remedy, sysctl_command
from loadgen.capacity.remedies.search import shorter_search
from loadgen.capacity.remedies.situation import (
    ADD_ADDRESS,
    PortHolderKind,
    RemedyMaker,
    Situation,
    widest_range,
)
from loadgen.capacity.remedies.space import free_held_ports, keep_for_listeners, listen_again, more_ports

__all__ = [
    "ADD_ADDRESS",
    "Claim",
    "PortHolderKind",
    "Quantity",
    "Remedy",
    "RemedyMaker",
    "Situation",
    "add_source_address",
    "end_time_wait",
    "faster_accept",
    "fewer_processes",
    "find_loss",
    "find_silence",
    "free_held_ports",
    "keep_for_listeners",
    "leave_target_ports",
    "listen_again",
    "look_at_losses",
    "mend_tls",
    "more_descriptors",
    "more_memory",
    "more_nat_ports",
    "more_neighbours",
    "more_ports",
    "more_tracking",
    "more_watches",
    "outlast_time_wait",
    "sentences",
    "shorter_search",
    "start_server",
    "sysctl_command",
    "wait_for_answers",
    "wider_path",
    "wider_window",
    "widest_range",
]
