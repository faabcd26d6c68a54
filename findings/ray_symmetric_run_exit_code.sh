#!/usr/bin/env bash
# ray 2.60.0, Python 3.11, Linux: `ray symmetric-run` ends with exit code 0 when Ray could not be
# started, so that the command after `--` has not run and a batch system books a success.
#
# Its `ray start` runs with check=True; the CalledProcessError is caught, printed, and the function
# returns: only the exit code of the command itself is handed on. Here the port of the head is taken
# by another process, as on a node that two jobs share. An option of `ray start` that is wrong
# (--num-cpus=many) ends the same way.
#
# Seen (2026-11-28):
#   free port, the command fails:     exit code 3, the command ran
#   port taken, the command is fine:  exit code 0, the command did not run
#
# Way round: let the command leave a file, and test for it afterwards.
# Exits 0 while this is so, else 1.
set -euo pipefail
folder=$(mktemp -d)
listener=
trap 'test -z "$listener" || kill "$listener"; rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet ray==2.60.0
export PATH="$folder/env/bin:$PATH" RAY_USAGE_STATS_ENABLED=0

free_port() {
    python -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}

run() {  # port, exit code of the command
    local code=0
    rm -f "$folder/ran"
    ray symmetric-run --address "127.0.0.1:$1" --num-cpus=1 -- \
        bash -c "touch '$folder/ran'; exit $2" >"$folder/log" 2>&1 || code=$?
    echo "exit code $code, the command $(test -e "$folder/ran" && echo ran || echo did not run)"
}

first=$(run "$(free_port)" 3)
taken=$(free_port)
python -c "
import socket, time
listener = socket.create_server(('', $taken))
open('$folder/listening', 'w').close()
time.sleep(600)" &
listener=$!
until test -e "$folder/listening"; do sleep 0.1; done
second=$(run "$taken" 0)
echo "free port, the command fails:     $first"
echo "port taken, the command is fine:  $second"
test "$first" = "exit code 3, the command ran"
test "$second" = "exit code 0, the command did not run"
