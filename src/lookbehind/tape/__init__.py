"""Tapes: what `record` keeps of one sequence, in memory and on disk.

- `tape`: `Tape` and `Layer`, and the questions they answer.
- `predictions`: what the model said would come next.
- `files`: the directory a tape is stored in, written atomically and read with suspicion.
- `index`: its `tape.json`, and what is accepted as one.
- `writing`: a tape that is written while it grows.
"""

from lookbehind.tape.files import load
from lookbehind.tape.tape import Layer, Tape

__all__ = ["Layer", "Tape", "load"]
