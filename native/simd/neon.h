// NEON (AArch64): 4 floats a vector, 32 vector registers.
#pragma once

#include <arm_neon.h>

#include "simd/common.h"

namespace lookbehind::LOOKBEHIND_SET {

using Float = float32x4_t;
using Int = int32x4_t;
struct Mask {
    uint32x4_t all;  // all bits of a lane, or none
};

constexpr int kLanes = 4;
constexpr int kVectors = 4;
constexpr int kSub = 4;  // 16 sums, 4 vectors of queries, one key
constexpr bool kBeside = true;
constexpr bool kPanels = false;
constexpr bool kDot = false;

// -- memory ----------------------------------------------------------------------------------------------------
LB_INLINE Float load(const float* from) { return vld1q_f32(from); }
LB_INLINE Int load(const int32_t* from) { return vld1q_s32(from); }
LB_INLINE void store(float* to, Float x) { vst1q_f32(to, x); }
LB_INLINE void store(int32_t* to, Int x) { vst1q_s32(to, x); }
LB_INLINE Float same(float x) { return vdupq_n_f32(x); }
LB_INLINE Int same(int32_t x) { return vdupq_n_s32(x); }
LB_INLINE Float bits(Int x) { return vreinterpretq_f32_s32(x); }
LB_INLINE Int bits(Float x) { return vreinterpretq_s32_f32(x); }
LB_INLINE Float count_up() {
    const float from[4] = {0, 1, 2, 3};
    return vld1q_f32(from);
}

// -- arithmetic ------------------------------------------------------------------------------------------------
LB_INLINE Float add(Float a, Float b) { return vaddq_f32(a, b); }
LB_INLINE Float sub(Float a, Float b) { return vsubq_f32(a, b); }
LB_INLINE Float mul(Float a, Float b) { return vmulq_f32(a, b); }
LB_INLINE Float div(Float a, Float b) { return vdivq_f32(a, b); }
LB_INLINE Float fma(Float a, Float b, Float c) { return vfmaq_f32(c, a, b); }
// Where x is NaN the result is `other`.
LB_INLINE Float max(Float x, Float other) { return vbslq_f32(vcgtq_f32(x, other), x, other); }
LB_INLINE Float min(Float x, Float other) { return vbslq_f32(vcltq_f32(x, other), x, other); }
LB_INLINE Float to_float(Int x) { return vcvtq_f32_s32(x); }
LB_INLINE Int add(Int a, Int b) { return vaddq_s32(a, b); }
LB_INLINE Int sub(Int a, Int b) { return vsubq_s32(a, b); }
LB_INLINE Int bit_and(Int a, Int b) { return vandq_s32(a, b); }
LB_INLINE Int bit_or(Int a, Int b) { return vorrq_s32(a, b); }
template <int kBy>
LB_INLINE Int shift_left(Int a) { return vshlq_n_s32(a, kBy); }
template <int kBy>
LB_INLINE Int shift_right(Int a) { return vshrq_n_s32(a, kBy); }

// -- masks -----------------------------------------------------------------------------------------------------
LB_INLINE Mask lanes(uint32_t word) {
    const uint32_t of[4] = {1, 2, 4, 8};
    return {vtstq_u32(vdupq_n_u32(word), vld1q_u32(of))};
}
LB_INLINE Mask less(Float a, Float b) { return {vcltq_f32(a, b)}; }
LB_INLINE Mask not_less(Float a, Float b) { return {vmvnq_u32(vcltq_f32(a, b))}; }      // true for NaN
LB_INLINE Mask not_at_most(Float a, Float b) { return {vmvnq_u32(vcleq_f32(a, b))}; }   // true for NaN
LB_INLINE Mask equal(Float a, Float b) { return {vceqq_f32(a, b)}; }
LB_INLINE Mask both(Mask a, Mask b) { return {vandq_u32(a.all, b.all)}; }
LB_INLINE bool any(Mask a) { return vmaxvq_u32(a.all) != 0; }
LB_INLINE Float choose(Mask where, Float yes, Float no) { return vbslq_f32(where.all, yes, no); }
LB_INLINE Float keep(Mask where, Float x) {
    return vreinterpretq_f32_u32(vandq_u32(where.all, vreinterpretq_u32_f32(x)));
}

// -- across lanes ----------------------------------------------------------------------------------------------
LB_INLINE float sum_of(Float x) { return vaddvq_f32(x); }
LB_INLINE float max_of(Float x) { return vmaxvq_f32(x); }

// -- 16-bit floats ---------------------------------------------------------------------------------------------
LB_INLINE Float widen_bfloat16(const uint16_t* from) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from), 16));
}
LB_INLINE Float widen_float16(const uint16_t* from) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
LB_INLINE void narrow_bfloat16(uint16_t* to, Float x) {
    const uint32x4_t word = vreinterpretq_u32_f32(x);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(word, 16), vdupq_n_u32(1));
    const uint32x4_t even = vaddq_u32(word, vaddq_u32(vdupq_n_u32(0x7fff), odd));
    const uint32x4_t quiet = vorrq_u32(word, vdupq_n_u32(0x400000));
    vst1_u16(to, vshrn_n_u32(vbslq_u32(vceqq_f32(x, x), even, quiet), 16));
}
LB_INLINE void narrow_float16(uint16_t* to, Float x) { vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32(x))); }

// -- layout ----------------------------------------------------------------------------------------------------
// to[c][r] = from[r][c] for 4 x 4 words; strides in words.
LB_INLINE void transpose(const int32_t* from, int64_t from_stride, int32_t* to, int64_t to_stride) {
    const int32x4x2_t low = vtrnq_s32(load(from), load(from + from_stride));
    const int32x4x2_t high = vtrnq_s32(load(from + 2 * from_stride), load(from + 3 * from_stride));
    store(to, vcombine_s32(vget_low_s32(low.val[0]), vget_low_s32(high.val[0])));
    store(to + to_stride, vcombine_s32(vget_low_s32(low.val[1]), vget_low_s32(high.val[1])));
    store(to + 2 * to_stride, vcombine_s32(vget_high_s32(low.val[0]), vget_high_s32(high.val[0])));
    store(to + 3 * to_stride, vcombine_s32(vget_high_s32(low.val[1]), vget_high_s32(high.val[1])));
}

}  // namespace lookbehind::LOOKBEHIND_SET

#include "simd/functions.h"
