namespace server
cable here c0 fd00:7::3/64 server s0 fd00:7::1/64
sysctl -qw net.ipv6.conf.c0.dad_transmits=10
ip address add fd00:7::2/64 dev c0
