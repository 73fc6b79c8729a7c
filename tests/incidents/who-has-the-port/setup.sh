sink here 127.0.0.1:9000
program here <<'P'
import socket, time
kept = socket.socket()
kept.bind(("127.0.0.1", 38151))
kept.connect(("127.0.0.1", 9000))
print("ready")
time.sleep(60)
P
