sysctl -qw net.ipv4.ip_local_port_range='40000 40199'
sink here 127.0.1.1:8000 127.0.1.1:8001 127.0.1.1:8002 127.0.1.1:8003 127.0.1.1:8004 \
  127.0.1.1:8005 127.0.1.1:8006 127.0.1.1:8007 127.0.1.1:8008 127.0.1.1:8009
program here <<'P'
import socket, time
kept = []
for number in range(400):
    kept.append(socket.socket())
    kept[-1].setsockopt(socket.SOL_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    kept[-1].bind(("127.0.0.9", 0))
    kept[-1].connect(("127.0.1.1", 8000 + number % 10))
print("ready")
time.sleep(60)
P
