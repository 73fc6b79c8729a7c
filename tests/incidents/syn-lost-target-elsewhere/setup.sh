namespace gateway
namespace server
cable here c0 198.18.0.2/24 gateway c1 198.18.0.1/24
cable gateway s1 198.18.1.1/24 server s0 198.18.1.2/24
ip route add default via 198.18.0.1
at server ip route add default via 198.18.1.1
at gateway sysctl -qw net.ipv4.ip_forward=1
at gateway nft -f - <<'N'
table inet lossy {
  chain f {
    type filter hook forward priority 0
    tcp dport 9000 tcp flags & (syn|ack) == syn numgen inc mod 20 == 0 drop
  }
}
N
sink server 198.18.1.2:9000
