#!/usr/bin/env bash
# nbgrader 0.9.6: `nbgrader.utils.setenv` does not give a variable its value of before.
#
# It is a context manager that sets environment variables while nbgrader executes a notebook. At its
# end it looks the value of before up under the NEW VALUE instead of under the name, so a variable
# that was set before is deleted; and it does not run after an exception, so that there the new value
# stays for everything that the process starts later.
#
# Seen (2026-11-28):
#   before: old, after: None
#   before: old, after an exception: new
#
# Way round: unittest.mock.patch.dict(os.environ, ...), or five lines with try and finally.
# Exits 0 while this is so, else 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet nbgrader==0.9.6
cat >"$folder/variables.py" <<'PYTHON'
import os

from nbgrader.utils import setenv

os.environ["COURSE_TERM"] = "old"
with setenv(COURSE_TERM="new"):
    pass
print(f"before: old, after: {os.environ.get('COURSE_TERM')}")

os.environ["COURSE_TERM"] = "old"
try:
    with setenv(COURSE_TERM="new"):
        raise KeyError
except KeyError:
    pass
print(f"before: old, after an exception: {os.environ.get('COURSE_TERM')}")
PYTHON
seen=$("$folder/env/bin/python" "$folder/variables.py")
echo "$seen"
grep -q '^before: old, after: None$' <<<"$seen"
grep -q '^before: old, after an exception: new$' <<<"$seen"
