"""`python -m lookbehind.bench WHAT N THREADS`: [seconds, extra bytes] of one call, as JSON."""

import json
import sys

import torch

from lookbehind.bench.alone import alone

torch.set_num_threads(int(sys.argv[3]))
print(json.dumps(alone(sys.argv[1], int(sys.argv[2]))))
