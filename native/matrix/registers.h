// The matrix unit (AMX): eight registers of 16 rows of 64 bytes, and an instruction that multiplies two of them.
//
// A product adds to c [16][16] floats what a [16][32] bfloat16 times b [16 pairs][16] gives: c's row m and column n
// gain the sum over 32 places of a's row m times b's column n, where b's rows hold two places each. That is 16,384
// operations in 16 cycles, a rate that vectors reach a fourteenth of, and meanwhile the vector pipes are free.
//
// Written as assembly, for two reasons: GCC's own intrinsics do not tell it that a load reads memory, so that it may
// move the stores before it behind; and registers have to be named by constants anyhow.
#pragma once

#include "simd/avx512.h"

namespace lookbehind::LOOKBEHIND_SET {

constexpr int kSide = 16;  // rows of a register, and floats or pairs of a row

// Keeps a value in its register, and what has made it in its place, among instructions of the unit. The compiler would make
// a constant anew for each use, by an instruction for the very port that the unit closes, and leave sums for later.
LB_INLINE void hold(Float& x) { asm volatile("" : "+v"(x)); }
LB_INLINE void hold(Int& x) { asm volatile("" : "+v"(x)); }
template <int n>
[[gnu::always_inline]] inline void hold_each(Float (&x)[n]) {
    LB_UNROLL
    for (int i = 0; i < n; ++i) hold(x[i]);
}

// Within its life this thread's registers have 16 rows of 64 bytes each. What shape they had before is what they
// have again afterwards, because other libraries on this thread believe to know it.
class Shaped {
public:
    Shaped() {
        asm volatile("sttilecfg %0" : "=m"(before_));
        Shape ours{};
        ours.palette = 1;
        for (int i = 0; i < 8; ++i) {
            ours.rows[i] = kSide;
            ours.bytes[i] = 64;
        }
        asm volatile("ldtilecfg %0" : : "m"(ours));
    }
    ~Shaped() {
        if (before_.palette == 0) asm volatile("tilerelease");
        else asm volatile("ldtilecfg %0" : : "m"(before_));
    }
    Shaped(const Shaped&) = delete;
    Shaped& operator=(const Shaped&) = delete;

private:
    struct alignas(64) Shape {
        uint8_t palette, start_row, reserved[14];
        uint16_t bytes[16];  // of a row
        uint8_t rows[16];
    };
    static_assert(sizeof(Shape) == 64);
    Shape before_;
};

// `stride` counts bytes from row to row.
template <int kRegister>
LB_INLINE void load_rows(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kRegister) : "memory");
}
// The same of rows that are not wanted again soon: they leave in the first cache what is.
template <int kRegister>
LB_INLINE void stream_rows(const void* from, int64_t stride) {
    asm volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kRegister) : "memory");
}
template <int kRegister>
LB_INLINE void store_rows(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kRegister) : "memory");
}
template <int kRegister>
LB_INLINE void zero_rows() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kRegister));
}
template <int kTo, int kA, int kB>
LB_INLINE void multiply_rows() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTo), "i"(kA), "i"(kB));
}

}  // namespace lookbehind::LOOKBEHIND_SET
