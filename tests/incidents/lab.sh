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
