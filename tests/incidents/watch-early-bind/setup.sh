sysctl -qw net.ipv4.ip_local_port_range='40000 40199'
sink here 127.0.1.1:8000 127.0.1.1:8001 127.0.1.1:8002 127.0.1.1:8003 127.0.1.1:8004 127.0.1.1:8005 127.0.1.1:8006 127.0.1.1:8007 127.0.1.1:8008 127.0.1.1:8009
program here <<'P'
import socket, time
kept = []
try:
    for number in range(500):
        kept.append(socket.socket(socket.AF_INET))
        kept[-1].bind(('127.0.0.9', 0))
        kept[-1].connect(('127.0.1.1', 8000 + number % 10))
except OSError:
    print("ready", len(kept))
time.sleep(60)
P
