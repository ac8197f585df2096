// AVX2 with FMA and F16C: 8 floats a vector, 16 vector registers.
#pragma once

#include <immintrin.h>

#include "simd/common.h"

namespace lookbehind::LOOKBEHIND_SET {

using Float = __m256;
using Int = __m256i;
struct Mask {
    __m256 all;  // all bits of a lane, or none
};

constexpr int kLanes = 8;
constexpr int kVectors = 3;
constexpr int kSub = 4;  // 12 sums, 3 vectors of queries, one key: all 16 registers
constexpr bool kBeside = false;
constexpr bool kPanels = true;
constexpr bool kDot = false;

// -- memory ----------------------------------------------------------------------------------------------------
LB_INLINE Float load(const float* from) { return _mm256_loadu_ps(from); }
LB_INLINE Int load(const int32_t* from) { return _mm256_loadu_si256((const __m256i*)from); }
LB_INLINE void store(float* to, Float x) { _mm256_storeu_ps(to, x); }
LB_INLINE void store(int32_t* to, Int x) { _mm256_storeu_si256((__m256i*)to, x); }
LB_INLINE Float same(float x) { return _mm256_set1_ps(x); }
LB_INLINE Int same(int32_t x) { return _mm256_set1_epi32(x); }
LB_INLINE Float count_up() { return _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7); }
LB_INLINE Float bits(Int x) { return _mm256_castsi256_ps(x); }
LB_INLINE Int bits(Float x) { return _mm256_castps_si256(x); }

// -- arithmetic ------------------------------------------------------------------------------------------------
LB_INLINE Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
LB_INLINE Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
LB_INLINE Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
LB_INLINE Float div(Float a, Float b) { return _mm256_div_ps(a, b); }
LB_INLINE Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
LB_INLINE Float max(Float x, Float other) { return _mm256_max_ps(x, other); }  // `other` where x is NaN
LB_INLINE Float min(Float x, Float other) { return _mm256_min_ps(x, other); }
LB_INLINE Float to_float(Int x) { return _mm256_cvtepi32_ps(x); }
LB_INLINE Int add(Int a, Int b) { return _mm256_add_epi32(a, b); }
LB_INLINE Int sub(Int a, Int b) { return _mm256_sub_epi32(a, b); }
LB_INLINE Int bit_and(Int a, Int b) { return _mm256_and_si256(a, b); }
LB_INLINE Int bit_or(Int a, Int b) { return _mm256_or_si256(a, b); }
template <int kBy>
LB_INLINE Int shift_left(Int a) { return _mm256_slli_epi32(a, kBy); }
template <int kBy>
LB_INLINE Int shift_right(Int a) { return _mm256_srai_epi32(a, kBy); }

// -- masks -----------------------------------------------------------------------------------------------------
LB_INLINE Mask lanes(uint32_t word) {
    const __m256i one = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i mine = _mm256_and_si256(_mm256_set1_epi32(static_cast<int32_t>(word)), one);
    return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(mine, one))};
}
LB_INLINE Mask less(Float a, Float b) { return {_mm256_cmp_ps(a, b, _CMP_LT_OQ)}; }
LB_INLINE Mask not_less(Float a, Float b) { return {_mm256_cmp_ps(a, b, _CMP_NLT_UQ)}; }        // true for NaN
LB_INLINE Mask not_at_most(Float a, Float b) { return {_mm256_cmp_ps(a, b, _CMP_NLE_UQ)}; }     // true for NaN
LB_INLINE Mask equal(Float a, Float b) { return {_mm256_cmp_ps(a, b, _CMP_EQ_OQ)}; }
LB_INLINE Mask both(Mask a, Mask b) { return {_mm256_and_ps(a.all, b.all)}; }
LB_INLINE bool any(Mask a) { return _mm256_movemask_ps(a.all) != 0; }
LB_INLINE Float choose(Mask where, Float yes, Float no) { return _mm256_blendv_ps(no, yes, where.all); }
LB_INLINE Float keep(Mask where, Float x) { return _mm256_and_ps(where.all, x); }

// -- across lanes ----------------------------------------------------------------------------------------------
LB_INLINE float sum_of(Float x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
LB_INLINE float max_of(Float x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

// -- 16-bit floats ---------------------------------------------------------------------------------------------
LB_INLINE Float widen_bfloat16(const uint16_t* from) {
    return bits(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)from)), 16));
}
LB_INLINE Float widen_float16(const uint16_t* from) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)from)); }
LB_INLINE void narrow_bfloat16(uint16_t* to, Float x) {
    const Int word = bits(x);
    const Int even = add(word, add(same(0x7fff), bit_and(shift_right<16>(word), same(1))));
    const Int quiet = bit_or(word, same(0x400000));
    const Int kept = _mm256_srli_epi32(bits(choose({_mm256_cmp_ps(x, x, _CMP_UNORD_Q)}, bits(quiet), bits(even))), 16);
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(kept, kept), 0x08);
    _mm_storeu_si128((__m128i*)to, _mm256_castsi256_si128(packed));
}
LB_INLINE void narrow_float16(uint16_t* to, Float x) {
    _mm_storeu_si128((__m128i*)to, _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// -- layout ----------------------------------------------------------------------------------------------------
// to[c][r] = from[r][c] for 8 x 8 words; strides in words.
LB_INLINE void transpose(const int32_t* from, int64_t from_stride, int32_t* to, int64_t to_stride) {
    __m256 r[8], t[8];
    LB_UNROLL
    for (int i = 0; i < 8; ++i) r[i] = bits(load(from + i * from_stride));
    LB_UNROLL
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    LB_UNROLL
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    LB_UNROLL
    for (int i = 0; i < 4; ++i) {
        store(to + i * to_stride, bits(_mm256_permute2f128_ps(r[i], r[i + 4], 0x20)));
        store(to + (i + 4) * to_stride, bits(_mm256_permute2f128_ps(r[i], r[i + 4], 0x31)));
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET

#include "simd/functions.h"
