sysctl -qw net.ipv4.ip_local_port_range='40000 40099'
program here <<'P'
import socket, time
listener = socket.create_server(("127.0.0.1", 9000), backlog=200)
kept = [socket.create_connection(("127.0.0.1", 9000)) for _ in range(90)]
for _ in kept:
    listener.accept()[0].close()
print("ready")
time.sleep(60)
P
