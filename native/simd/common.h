// What every instruction set shares before its own types are known.
//
// A file set_*.cpp names its set in LOOKBEHIND_SET and includes these headers: everything lies in that
// namespace, so that one program can hold the same code compiled for several sets.
//
// A set's own header says how many floats a vector holds (kLanes), how many vectors of queries a tile (kVectors), and of how
// many keys, or columns of values, the sums stay in registers together (kSub); whether registers are left beside those for
// other work, or that waits (kBeside); whether keys and values are packed in panels, which are read word after word (kPanels,
// see Head); and whether it has the dot of bfloat16 pairs (kDot).
#pragma once

#include <cstdint>
#include <cstring>

#ifndef LOOKBEHIND_SET
#error "LOOKBEHIND_SET must name the instruction set; only set_*.cpp include this header"
#endif

#define LB_INLINE [[gnu::always_inline]] static inline
#define LB_UNROLL _Pragma("GCC unroll 16")

namespace lookbehind::LOOKBEHIND_SET {

constexpr float kLog2e = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;
constexpr float kHuge = 3.4028234663852886e38f;  // the largest finite float
constexpr float kInfinity = __builtin_inff();

LB_INLINE float float_of(uint32_t word) {
    float x;
    memcpy(&x, &word, 4);
    return x;
}

LB_INLINE uint32_t word_of(float x) {
    uint32_t word;
    memcpy(&word, &x, 4);
    return word;
}

LB_INLINE float bfloat16_to_float(uint16_t x) { return float_of(static_cast<uint32_t>(x) << 16); }

// To the nearest, ties to even; a NaN stays one.
LB_INLINE uint16_t float_to_bfloat16(float x) {
    const uint32_t word = word_of(x);
    if ((word & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((word >> 16) | 0x40u);
    return static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
}

LB_INLINE float float16_to_float(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00u) return float_of(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    // As a float of the same bits it is 2^112 too small, subnormals included.
    return float_of(sign | word_of(float_of(rest << 13) * 0x1p112f));
}

LB_INLINE uint16_t float_to_float16(float x) {
    const uint32_t word = word_of(x), sign = word >> 16 & 0x8000u, rest = word & 0x7fffffffu;
    if (rest > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
    if (rest >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65,520 rounds to infinity
    if (rest < 0x38800000u) {  // subnormal: adding 2^-1 leaves the ten bits that count at the bottom
        return static_cast<uint16_t>(sign | (word_of(float_of(rest) + 0.5f) - 0x3f000000u));
    }
    return static_cast<uint16_t>(sign | ((rest - 0x38000000u + 0xfffu + (rest >> 13 & 1u)) >> 13));
}

}  // namespace lookbehind::LOOKBEHIND_SET
