"""Numbers of the kernel's interface that Python 3.11 has no name for."""

from __future__ import annotations

from typing import Final

#: ip(7), Linux 4.2: bind() takes the address only, connect() the port.
IP_BIND_ADDRESS_NO_PORT: Final = 24
#: ip(7), Linux 6.3: the range that the automatic port of this one socket may come from.
IP_LOCAL_PORT_RANGE: Final = 51
