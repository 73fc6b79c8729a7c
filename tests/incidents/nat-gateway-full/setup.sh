namespace gateway
namespace server
cable here c0 198.18.0.2/24 gateway c1 198.18.0.1/24
cable gateway s1 198.18.1.1/24 server s0 198.18.1.2/24
ip route add default via 198.18.0.1
at gateway sysctl -qw net.ipv4.ip_forward=1
at gateway nft -f - <<'N'
table ip nat {
  chain post {
    type nat hook postrouting priority 100
    oifname "s1" ip protocol tcp snat to 198.18.1.1:1024-1123
  }
}
N
sink server 198.18.1.2:443
