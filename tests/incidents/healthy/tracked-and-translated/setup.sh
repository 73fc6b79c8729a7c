nft -f - <<'N'
table ip nat {
  chain post {
    type nat hook postrouting priority 100
    tcp dport 9000 snat to 127.0.0.3:1024-3023
  }
}
N
