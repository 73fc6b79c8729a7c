namespace server
cable here c0 fd00:1::2/64 server s0 fd00:1::1/64
nft -f - <<'N'
table ip6 nat {
  chain post {
    type nat hook postrouting priority 100
    oifname "c0" meta l4proto tcp masquerade to :2000-2059
  }
}
N
sink server '[fd00:1::1]:443'
