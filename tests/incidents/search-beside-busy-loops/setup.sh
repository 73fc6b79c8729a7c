sysctl -qw net.ipv4.ip_local_port_range='30000 45999'
for core in 1 2; do
  program here <<'P'
import time
print("ready")
end = time.monotonic() + 60
while time.monotonic() < end:
    pass
P
done
