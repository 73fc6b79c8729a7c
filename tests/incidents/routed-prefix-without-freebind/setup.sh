ip -6 route add local fd00:9::/64 dev lo
