// AVX-512 (F, BW, DQ, VL).
#include "kernels.h"

#ifdef LOOKBEHIND_HAS_AVX512
#define LOOKBEHIND_SET avx512
#include "simd/avx512.h"

#include "set.h"

const lookbehind::Kernels* lookbehind::avx512_kernels() { return &avx512::kKernels; }
#else
const lookbehind::Kernels* lookbehind::avx512_kernels() { return nullptr; }
#endif
