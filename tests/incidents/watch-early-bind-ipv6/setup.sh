sysctl -qw net.ipv4.ip_local_port_range='40000 40199'
sink here [::1]:8000 [::1]:8001 [::1]:8002 [::1]:8003 [::1]:8004 [::1]:8005 [::1]:8006 [::1]:8007 [::1]:8008 [::1]:8009
program here <<'P'
import socket, time
kept = []
try:
    for number in range(500):
        kept.append(socket.socket(socket.AF_INET6))
        kept[-1].bind(('::1', 0))
        kept[-1].connect(('::1', 8000 + number % 10))
except OSError:
    print("ready", len(kept))
time.sleep(60)
P
