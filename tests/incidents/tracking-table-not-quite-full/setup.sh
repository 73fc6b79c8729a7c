nft -f - <<'N'
table inet t {
  chain in {
    type filter hook input priority 0
    ct state established,related accept
  }
}
N

program here <<'P'
# Entries of the tracking table as a busy hour leaves them: ESTABLISHED, assured, for an hour (ctnetlink, nfnetlink_conntrack.h).
import itertools, socket, struct, time

LEFT = 8000

def attribute(kind, value, nested=False):
    head = struct.pack("=HH", 4 + len(value), kind | (0x8000 if nested else 0))
    return head + value + b"\0" * (-len(value) % 4)

def entry(number):
    client, server = struct.pack("!I", 0x0A000000 + number), struct.pack("!I", 0x0B000001)
    def tuple_(kind, source, target, sport, dport):
        ip = attribute(1, attribute(1, source) + attribute(2, target), True)
        proto = attribute(2, attribute(1, b"\6") + attribute(2, struct.pack("!H", sport)) + attribute(3, struct.pack("!H", dport)), True)
        return attribute(kind, ip + proto, True)
    body = struct.pack("!BBH", socket.AF_INET, 0, 0)
    body += tuple_(1, client, server, 1024, 80) + tuple_(2, server, client, 80, 1024)
    body += attribute(3, struct.pack("!I", 0b1110)) + attribute(7, struct.pack("!I", 3600))
    body += attribute(4, attribute(1, attribute(1, b"\3"), True), True)
    return struct.pack("=IHHII", 16 + len(body), 0x0100, 0x0001 | 0x0400 | 0x0200, number, 0) + body

room = int(open("/proc/sys/net/netfilter/nf_conntrack_max").read()) - LEFT
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netlink:
    netlink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    numbers = iter(range(room))
    while batch := list(itertools.islice(numbers, 300)):
        netlink.send(b"".join(map(entry, batch)))
count = int(open("/proc/sys/net/netfilter/nf_conntrack_count").read())
assert count >= room - 10, (count, room)
print("ready")
time.sleep(100)
P

nft -f - <<'N'
table inet closed {
  chain in {
    type filter hook input priority 0
    tcp dport 9000 drop
  }
}
N
