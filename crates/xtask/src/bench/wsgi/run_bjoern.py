"""bjoern has no command: run_bjoern.py MODULE:APP (PORT | unix:PATH)"""

import importlib
import sys

import bjoern

module, name = sys.argv[1].split(":")
app = getattr(importlib.import_module(module), name)
if sys.argv[2].startswith("unix:"):
    bjoern.run(app, sys.argv[2])
else:
    bjoern.run(app, "127.0.0.1", int(sys.argv[2]))
