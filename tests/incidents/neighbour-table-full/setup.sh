namespace server
cable here c0 198.18.0.2/20 server s0 198.18.15.1/20
for i in $(seq 0 5); do for j in $(seq 0 255); do echo "address add 198.18.$i.$j/20 dev c0"; done; done | ip -force -batch - 2> /dev/null || true
sink server 198.18.15.1:443
