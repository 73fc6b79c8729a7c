nft -f - <<'N'
table inet lossy {
  chain in {
    type filter hook input priority 0
    tcp dport 9000 tcp flags & (syn|ack) == syn numgen inc mod 50 == 0 counter drop
  }
}
N
