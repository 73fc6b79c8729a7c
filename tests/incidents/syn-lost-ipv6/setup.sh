nft -f - <<'N'
table inet lossy {
  chain in {
    type filter hook input priority 0
    meta nfproto ipv6 tcp dport 9000 tcp flags & (syn|ack) == syn numgen inc mod 20 == 0 counter drop
  }
}
N
