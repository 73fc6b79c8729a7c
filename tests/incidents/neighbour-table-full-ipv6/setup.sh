namespace server
cable here c0 fd00:1::2/64 server s0 fd00:1::1/64
for i in $(seq 0 1499); do printf 'address add fd00:1::1:%x/64 dev c0 nodad\n' $i; done | ip -6 -batch -
sink server '[fd00:1::1]:443'
