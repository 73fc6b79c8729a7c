nft -f - <<'N'
table inet lossy {
  chain in {
    type filter hook input priority 0
    tcp sport 9000 tcp flags & (syn|ack) == (syn|ack) numgen inc mod 25 == 0 counter drop
  }
}
N
