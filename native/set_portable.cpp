// Any machine: plain C++.
#include "kernels.h"

#ifdef LOOKBEHIND_HAS_PORTABLE
#define LOOKBEHIND_SET portable
#include "simd/portable.h"

#include "set.h"

const lookbehind::Kernels* lookbehind::portable_kernels() { return &portable::kKernels; }
#else
const lookbehind::Kernels* lookbehind::portable_kernels() { return nullptr; }
#endif
