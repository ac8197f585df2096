// NEON (AArch64).
#include "kernels.h"

#ifdef LOOKBEHIND_HAS_NEON
#define LOOKBEHIND_SET neon
#include "simd/neon.h"

#include "set.h"

const lookbehind::Kernels* lookbehind::neon_kernels() { return &neon::kKernels; }
#else
const lookbehind::Kernels* lookbehind::neon_kernels() { return nullptr; }
#endif
