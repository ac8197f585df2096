// AVX2 with FMA and half floats (F16C).
#include "kernels.h"

#ifdef LOOKBEHIND_HAS_AVX2
#define LOOKBEHIND_SET avx2
#include "simd/avx2.h"

#include "set.h"

const lookbehind::Kernels* lookbehind::avx2_kernels() { return &avx2::kKernels; }
#else
const lookbehind::Kernels* lookbehind::avx2_kernels() { return nullptr; }
#endif
