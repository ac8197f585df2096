// Sums across lanes, and maxima in which a NaN stays.
#pragma once

#include "../tile.h"

namespace lookbehind::LOOKBEHIND_SET {

// sums[j] = the sum over the lanes of x[j].
LB_INLINE void lane_sums(const Float (&x)[kMicro], float* sums) {
#ifdef __AVX512F__
    // A tree: each step adds halves of two vectors, and leaves both sums in one.
    __m512 pair[4], four[2];
    LB_UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m512 low = _mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]);
        pair[i] = _mm512_add_ps(low, _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
    }
    LB_UNROLL
    for (int i = 0; i < 2; ++i) {
        const __m512d a = _mm512_castps_pd(pair[2 * i]), b = _mm512_castps_pd(pair[2 * i + 1]);
        four[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
    }
    // Quarters of four[0] are sums of keys 0 to 3, of four[1] of keys 4 to 7.
    __m512 all = _mm512_add_ps(_mm512_shuffle_f32x4(four[0], four[1], 0x88), _mm512_shuffle_f32x4(four[0], four[1], 0xdd));
    all = _mm512_add_ps(all, _mm512_shuffle_f32x4(all, all, 0xb1));
    _mm256_storeu_ps(sums, _mm512_castps512_ps256(_mm512_shuffle_f32x4(all, all, 0x08)));
#elif defined(__AVX2__)
    __m256 pair[4], four[2];
    LB_UNROLL
    for (int i = 0; i < 4; ++i) {
        const __m256 low = _mm256_unpacklo_ps(x[2 * i], x[2 * i + 1]);
        pair[i] = _mm256_add_ps(low, _mm256_unpackhi_ps(x[2 * i], x[2 * i + 1]));
    }
    LB_UNROLL
    for (int i = 0; i < 2; ++i) {
        const __m256d a = _mm256_castps_pd(pair[2 * i]), b = _mm256_castps_pd(pair[2 * i + 1]);
        four[i] = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)), _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    }
    const __m256 low = _mm256_permute2f128_ps(four[0], four[1], 0x20);
    _mm256_storeu_ps(sums, _mm256_add_ps(low, _mm256_permute2f128_ps(four[0], four[1], 0x31)));
#else
    for (int j = 0; j < kMicro; ++j) sums[j] = sum_of(x[j]);
#endif
}

// to[j] += the sum over the lanes of row j; rows is [kMicro][kLanes].
LB_INLINE void add_lane_sums(const float* rows, float* to) {
    Float x[kMicro];
    LB_UNROLL
    for (int j = 0; j < kMicro; ++j) x[j] = load(rows + j * kLanes);
    float sums[kMicro];
    lane_sums(x, sums);
    for (int j = 0; j < kMicro; ++j) to[j] += sums[j];
}

LB_INLINE Mask is_nan(Float x) { return not_at_most(x, x); }

// The larger of both; NaN where one of them is.
LB_INLINE Float larger(Float x, Float y) { return choose(is_nan(x), x, choose(is_nan(y), y, max(x, y))); }

LB_INLINE Int choose(Mask where, Int yes, Int no) { return bits(choose(where, bits(yes), bits(no))); }

}  // namespace lookbehind::LOOKBEHIND_SET
