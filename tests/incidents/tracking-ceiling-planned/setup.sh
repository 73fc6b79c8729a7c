nft -f - <<'N'
table inet t {
  chain in {
    type filter hook input priority 0
    ct state established,related accept
  }
}
N
