// AVX-512 with the matrix unit for products.
#include "kernels.h"

#ifdef LOOKBEHIND_HAS_AMX
#define LOOKBEHIND_SET amx
#define LB_HAS_MATRIX 1
#include "simd/avx512.h"

#include "set.h"

const lookbehind::Kernels* lookbehind::amx_kernels() { return &amx::kKernels; }
#else
const lookbehind::Kernels* lookbehind::amx_kernels() { return nullptr; }
#endif
