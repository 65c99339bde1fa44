"""Runs stock supervisorctl for each line of standard input, in one process: it takes long to start."""
import contextlib
import io
import json
import sys

from supervisor import supervisorctl

for line in sys.stdin.read().splitlines():
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            supervisorctl.main(["-c", sys.argv[1], *line.split()])
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, out.getvalue()]))
