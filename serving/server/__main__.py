"""`python -m serving.server`."""

import os
import sys

from serving.server.cli import main

code = main()
sys.stdout.flush()
sys.stderr.flush()
# Not `sys.exit`: that waits for threads that load or run a model, which nothing can interrupt. And
# tensorflow-io 0.37.1 aborts a process that used s3:// where it is unloaded in order.
os._exit(code)
