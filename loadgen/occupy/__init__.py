"""Take source ports of a network namespace until a few are left, so that a real service there runs out of them.

`request` is the wish, `account` the arithmetic on ports, `reading` the sockets of the namespace, `affected` the
programs that will be hurt, `prospect` all of this before it begins. `taking` makes the sockets, in processes that
`holders` starts and ends; `occupation` keeps the number that is left; `outcome` is the result, and `plain` writes it as
JSON. `loadgen.cli.occupy` asks before anything is taken.

Nothing here touches a socket of another program: ports are taken, and their holders closed.
"""
