sysctl -qw net.ipv4.ip_local_port_range='1024 65535'
namespace box
