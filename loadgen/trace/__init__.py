"""Ways in which programs connect, seen by its system calls: `loadgen trace`.

strace      the lines of strace in, system calls with their arguments out; also of pasted text (`loadgen explain`)
ways        calls on one socket in, the way it connects out: the strategy of the table, or what no strategy of ours is
run         starts or attaches strace, and follows the processes
plain       the same as JSON

Nothing here opens a connection.
"""
