# run.sh SETUP ARGUMENT...: loadgen with these arguments after SETUP, in the namespace this shell was started in.
# Arguments may use what the setup has set: '--netns ${NAMESPACE[box]}', '--pid $PROGRAM'.
set -euo pipefail
here=$(dirname "$0")
setup=$1
shift
ip link set lo up
. "$here/lab.sh"
trap 'kill $(jobs -p) 2> /dev/null || true; wait; rm -r "$files"' EXIT
. "$setup" >&2
arguments=()
for argument in "$@"; do
  eval "arguments+=(\"$argument\")"
done
$LOADGEN "${arguments[@]}"
