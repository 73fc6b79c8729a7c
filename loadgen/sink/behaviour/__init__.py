"""How a sink treats those who connect, where that is not the plain echo: TLS, HTTP, delays, resets, slow reads.

speech: what is answered. http: the same in HTTP/1.1. tls: the cipher around it. door: what all connections to an
address have in common. guest: one connection, and when it may read, write and end. guests: all of them, with one
epoll object and one heap of due times.
"""
