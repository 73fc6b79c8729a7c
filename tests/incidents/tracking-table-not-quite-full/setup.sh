fill_tracking 8000

nft -f - <<'N'
table inet closed {
  chain in {
    type filter hook input priority 0
    tcp dport 9000 drop
  }
}
N
