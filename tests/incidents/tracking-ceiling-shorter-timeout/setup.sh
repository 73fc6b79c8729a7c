nft -f - <<'N'
table inet t {
  chain in {
    type filter hook input priority 0
    ct state established,related accept
  }
}
N
sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_time_wait=10
