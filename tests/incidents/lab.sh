# Functions for the setup.sh of an incident, which runs in a network namespace of its own with loopback up.
# Everything that is started here ends with the script (run.sh); standard output is standard error.

declare -A NAMESPACE=()
files=$(mktemp -d)

# within COMMAND...: try until it succeeds; 30 s at most, and no longer than the process that was started last.
within() {
  for ((tries = 0; tries < 1000; tries++)); do
    if "$@"; then return; fi
    kill -0 $! || break
    sleep 0.02
  done
  echo "it never came true: $*" >&2
  return 1
}

# namespace NAME: a further network namespace, loopback up.
namespace() {
  unshare --net sleep infinity &
  NAMESPACE[$1]=$!
  within _apart $!
  at "$1" ip link set lo up
}
_apart() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }

# at NAME COMMAND...: in that namespace; `here` is the one in which loadgen runs.
at() {
  local name=$1
  shift
  if [ "$name" = here ]; then "$@"; else nsenter --target "${NAMESPACE[$name]}" --net -- "$@"; fi
}
# In the background the shell itself becomes the command, so that its process number is that of the command.
_become() {
  local name=$1
  shift
  if [ "$name" = here ]; then exec "$@"; else exec nsenter --target "${NAMESPACE[$name]}" --net -- "$@"; fi
}

# cable NAME DEVICE ADDRESS/LENGTH NAME DEVICE ADDRESS/LENGTH: a veth pair between two namespaces, up, with an address at each end.
cable() {
  ip link add "$2" type veth peer name "$5"
  _end "$1" "$2" "$3"
  _end "$4" "$5" "$6"
}
_end() {
  if [ "$1" != here ]; then ip link set "$2" netns "${NAMESPACE[$1]}"; fi
  at "$1" ip link set "$2" up
  case $3 in
    *:*) at "$1" ip address add "$3" dev "$2" nodad ;;
    *) at "$1" ip address add "$3" dev "$2" ;;
  esac
}

# sink NAME ADDRESS:PORT [OPTION...]: loadgen's sink in that namespace, as soon as it listens.
sink() {
  local name=$1 endpoint=$2
  shift 2
  _become "$name" $LOADGEN sink --quiet --workers 1 "$endpoint" "$@" &
  within _listens "$name" "$endpoint"
}
_listens() { [ -n "$(at "$1" ss -Hltn "src $2")" ]; }

# program NAME: the Python program on standard input runs in that namespace until the end; returns when it has printed "ready".
program() {
  local stem
  stem=$(mktemp "$files/XXXXXX")
  cat > "$stem.py"
  _become "$1" $PYTHON -u "$stem.py" > "$stem.out" &
  PROGRAM=$!
  within grep -q ready "$stem.out"
}

# fill_tracking LEFT: connections are tracked here, and the table has room for this number of entries.
fill_tracking() {
  nft -f - <<'N'
table inet t {
  chain in {
    type filter hook input priority 0
    ct state established,related accept
  }
}
N
  LEFT=$1 program here <<'P'
# Entries of the tracking table as a busy hour leaves them: ESTABLISHED, assured, for an hour (ctnetlink, nfnetlink_conntrack.h).
import itertools, os, socket, struct, time

LEFT = int(os.environ["LEFT"])

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
}
