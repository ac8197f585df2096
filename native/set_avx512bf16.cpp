// AVX-512 with the dot product of bfloat16 pairs.
#include "kernels.h"

#ifdef LOOKBEHIND_HAS_AVX512BF16
#define LOOKBEHIND_SET avx512bf16
#include "simd/avx512.h"

#include "set.h"

const lookbehind::Kernels* lookbehind::avx512bf16_kernels() { return &avx512bf16::kKernels; }
#else
const lookbehind::Kernels* lookbehind::avx512bf16_kernels() { return nullptr; }
#endif
