"""Connections of a sink that is more than a plain echo: TLS, HTTP, delays, resets, slow reads.

responder: what is answered. http: the same for HTTP/1.1. tls: the TLS session around it. listener: what all
connections of one address share. connection: one connection, and when it may read, write and end. connections: all of
them, with one epoll object and one heap of due times.
"""
