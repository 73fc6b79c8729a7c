"""The other data plane: connections by io_uring(7), which are no descriptors of the process.

abi           numbers and layouts of linux/io_uring.h
ring          one ring with its table of direct descriptors
submissions   the submissions made from the setup of a strategy (`loadgen.worker.strategies.PortSetup`)
connector     the connections of one worker, with the same interface as `loadgen.worker.epoll.connector.Connector`
"""
