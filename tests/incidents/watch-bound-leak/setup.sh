sysctl -qw net.ipv4.ip_local_port_range='40000 40099'
program here <<'P'
import socket, time
kept = []
for _ in range(50):
    kept.append(socket.socket())
    kept[-1].bind(("127.0.0.5", 0))
print("ready")
time.sleep(60)
P
