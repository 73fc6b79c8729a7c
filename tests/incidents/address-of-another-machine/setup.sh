namespace server
cable here c0 198.18.0.2/24 server s0 198.18.0.1/24
