sysctl -qw net.ipv4.tcp_tw_reuse=1 net.ipv4.tcp_timestamps=0 net.ipv4.tcp_max_tw_buckets=500
