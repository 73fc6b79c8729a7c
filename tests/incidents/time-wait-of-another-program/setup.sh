sysctl -qw net.ipv4.ip_local_port_range='40000 40099' net.ipv4.tcp_tw_reuse=0
program here <<'P'
import socket, time
listener = socket.create_server(("127.0.0.1", 9000), backlog=200)
for number in range(60):
    client = socket.socket()
    client.setsockopt(socket.SOL_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
    client.bind(("127.0.0.2", 0))
    client.connect(("127.0.0.1", 9000))
    served, _ = listener.accept()
    client.close()
    assert served.recv(1) == b""
    served.close()
print("ready")
time.sleep(60)
P
