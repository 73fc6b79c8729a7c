namespace server
cable here c0 fd00:1::2/64 server s0 fd00:1::1/64
ip address add fd00:1::3/64 dev c0 nodad
at server nft -f - <<'N'
table ip6 limits {
  set clients {
    type ipv6_addr
    flags dynamic
  }
  chain in {
    type filter hook input priority 0
    tcp dport 443 tcp flags & (syn|ack) == syn add @clients { ip6 saddr ct count over 80 } drop
  }
}
N
sink server '[fd00:1::1]:443'
