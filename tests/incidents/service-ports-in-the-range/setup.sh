sysctl -qw net.ipv4.ip_local_port_range='1024 65534'
sink here 127.0.0.1:6000
