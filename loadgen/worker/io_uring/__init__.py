"""The other data plane: connections by io_uring(7), which are no descriptors of the process.

`abi` has the numbers and layouts of linux/io_uring.h, `ring` one ring with its table of direct
descriptors, `choice` what each strategy asks of the kernel as data, `steps` the submissions made from
it, and `connector` the connections of one worker with the same face as `loadgen.worker.epoll.connector.Connector`.
"""
