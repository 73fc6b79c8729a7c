sysctl -qw net.ipv4.ip_local_port_range='40000 40199'
program here <<'P'
import socket, time
kept = []
try:
    for number in range(500):
        kept.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        kept[-1].sendto(b"x", ('127.0.0.1', 5300 + number % 4))
except OSError:
    print("ready", len(kept))
time.sleep(60)
P
