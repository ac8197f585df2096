"""`pytest -p tests.native.instead`: the extension that LOOKBEHIND_EXTENSION names, not the installed one."""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location


def pytest_configure() -> None:
    spec = spec_from_file_location("lookbehind._native", os.environ["LOOKBEHIND_EXTENSION"])
    assert spec is not None and spec.loader is not None
    sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[spec.name])
