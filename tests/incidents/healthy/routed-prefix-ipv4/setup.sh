ip route add local 198.18.0.0/16 dev lo
