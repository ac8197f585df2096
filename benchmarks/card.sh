#!/usr/bin/env bash
# On a card: what can be wrong first, then the figures. Some twenty minutes on one H200.
#
#   benchmarks/card.sh [folder for what it says] [step...]
#
# Steps: small routes kernels engine memcheck racecheck bench; all of them unless some are named.
# Needs a python3 with PyTorch for CUDA, triton, transformers, pytest, hypothesis, typer and rich, a C compiler and Python's headers
# (FlexAttention and triton build their launchers with them), and no network; pytest-xdist makes it faster.
# Each step goes on where the one before failed; the exit status is 0 where every test passed and every row that
# has to be reached was. memcheck and racecheck are left out where compute-sanitizer is not on the PATH.
# With SECONDS_LEFT, a step takes no more than what is left of so many seconds: figures are written as they are read, what was said is kept.
set -u
cd "$(dirname "$0")/.."
to=${1:-build/card}
mkdir -p "$to"
only=" ${*:2} "
failed=0

step() {  # name, seconds, command...
  local name=$1 limit=$2
  shift 2
  [[ $only == "  " || $only == *" $name "* ]] || return
  if [[ ${SECONDS_LEFT:-} ]]; then
    local left=$((SECONDS_LEFT - SECONDS - 5))
    if ((left < limit)); then limit=$((left > 1 ? left : 1)); fi
  fi
  echo "== $name, from second $SECONDS on for at most $limit"
  if timeout --kill-after=5 "$limit" "$@" >"$to/$name.log" 2>&1; then echo "passed: $name"; else
    echo "FAILED: $name (status $?; 124 is out of time)"
    failed=1
  fi
  tail -n 80 "$to/$name.log"
}

if ! python3 -c "import lookbehind" 2>/dev/null; then
  SKBUILD_WHEEL_CMAKE=false python3 -m pip install --quiet --no-index --no-deps --no-build-isolation --editable . ||
    export PYTHONPATH=$PWD/src
fi
python3 -c "import torch, triton; print(torch.cuda.get_device_name(), torch.__version__, triton.__version__)"
python3 -c "import sysconfig, pathlib as p; h = p.Path(sysconfig.get_path('include'), 'Python.h'); h.exists() or print('missing:', h)"
command -v gcc cc clang >/dev/null || echo "missing: a C compiler"
# Without the project's own options, which name plugins that may not be here. What takes long is compiling: side by side if that can be.
pytest=(python3 -m pytest -c /dev/null --rootdir . -p no:cacheprovider)
if python3 -c "import xdist" 2>/dev/null; then pytest+=(-n 8); fi
step small 120 python3 benchmarks/small.py
step routes 240 "${pytest[@]}" tests/engines/kernels/test_routes.py tests/engines/kernels/test_flex.py
step kernels 540 "${pytest[@]}" tests/engines/kernels/interpreted.py
step engine 120 "${pytest[@]}" tests/engines/test_triton.py -k "not kernels"
if command -v compute-sanitizer >/dev/null; then
  step memcheck 120 compute-sanitizer --tool memcheck --error-exitcode 1 python3 benchmarks/small.py
  step racecheck 120 compute-sanitizer --tool racecheck --error-exitcode 1 python3 benchmarks/small.py
fi
step bench 480 python3 benchmarks/cuda.py --json "$to/cuda.json"
exit $failed
