"""The engine on io_uring(7): connections that are no descriptors of the process.

abi           numbers and layouts of linux/io_uring.h
ring          one ring with its table of direct descriptors
submissions   the submissions made from the setup of a strategy (`loadgen.worker.strategies.PortSetup`)
connector     the connections of one worker, with the interface of `loadgen.worker.connector.Connector`
"""
