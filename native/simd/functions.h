// Functions of a vector, out of a set's primitives. Included at the end of simd/<set>.h.
#pragma once

namespace lookbehind::LOOKBEHIND_SET {

constexpr int kTile = kLanes * kVectors;  // queries a tile
constexpr int kMicro = 8;                 // keys a micro-tile: what is visited or left out as a whole

// The polynomial of that degree for 2^f, highest power first: exact at 0; relative error 9e-8 (degree 5) or 1e-4 (degree 3: a
// bfloat16 holds 2e-3). f in [0, 1] where the set scales by powers, which rounds down; else in [-1/2, 1/2].
template <int kDegree>
struct Exp2Terms;
#ifdef LB_HAS_SCALE
template <>
struct Exp2Terms<3> {
    static constexpr float of[] = {0.0770670499f, 0.227644983f, 0.695116788f, 1.0f};
};
template <>
struct Exp2Terms<5> {
    static constexpr float of[] = {0.00186713019f, 0.00901703006f, 0.0557999133f, 0.24016445f, 0.693151312f, 1.0f};
};
#else
template <>
struct Exp2Terms<3> {
    static constexpr float of[] = {0.0550089329f, 0.242210969f, 0.693282902f, 1.0f};
};
template <>
struct Exp2Terms<5> {
    static constexpr float of[] = {0.00132647273f, 0.00967151299f, 0.0555073358f, 0.240222424f, 0.693147004f, 1.0f};
};
#endif

template <int kDegree>
LB_INLINE Float exp2_fraction(Float f) {
    constexpr auto& terms = Exp2Terms<kDegree>::of;
    Float p = same(terms[0]);
    LB_UNROLL
    for (int i = 1; i <= kDegree; ++i) p = fma(p, f, same(terms[i]));
    return p;
}

// 2^x to the precision of that degree, 0 for -inf; what is 2^128 or more, or NaN, is at least 2^127.
template <int kDegree>
LB_INLINE Float exp2_capped(Float x) {
#ifdef LB_HAS_SCALE
    return scale_by_power(exp2_fraction<kDegree>(fraction(x)), x);
#else
    // x = n + f with n whole, as a sum with 1.5 * 2^23 leaves n in its low bits. At -127 f is 0, and all bits of the result
    // are; between that and -126 it is off, by less than 2^-126.
    const Float shift = same(12582912.0f);
    const Float within = max(min(x, same(127.99999f)), same(-127.0f));  // a NaN is dropped by min
    const Float near = add(within, shift);
    const Float f = sub(within, sub(near, shift));
    return bits(add(bits(exp2_fraction<kDegree>(f)), shift_left<23>(bits(near))));
#endif
}

// The same, but +inf from 128 on, and NaN for NaN.
template <int kDegree>
LB_INLINE Float exp2(Float x) {
    const Float capped = exp2_capped<kDegree>(x);
#ifdef LB_HAS_SCALE
    return capped;  // is so already
#else
    return choose(not_less(x, same(128.0f)), add(x, same(kInfinity)), capped);
#endif
}

// Natural logarithm of x > 0, normal or +inf; 0 gives -inf, NaN stays. Absolute error 1e-7 of max(1, |log x|).
LB_INLINE Float log(Float x) {
    // x = 2^e * m with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m - 1) / (m + 1)).
    const Int shifted = sub(bits(x), same(int32_t{0x3f3504f3}));
    const Float e = to_float(shift_right<23>(shifted));
    const Float m = bits(add(bit_and(shifted, same(int32_t{0x007fffff})), same(int32_t{0x3f3504f3})));
    const Float t = div(sub(m, same(1.0f)), add(m, same(1.0f)));
    const Float t2 = mul(t, t);
    Float p = fma(same(0.23668788f), t2, same(0.285320669f));
    p = fma(p, t2, same(0.400004339f));
    p = fma(p, t2, same(0.666666651f));
    p = fma(mul(p, t2), t, add(t, t));
    p = fma(e, same(kLn2), p);
    p = choose(equal(x, same(0.0f)), same(-kInfinity), p);
    return choose(less(x, same(kInfinity)), p, x);  // +inf and NaN as they came
}

// tanh x. Odd polynomial near 0, where 1 - 2 / (e^2x + 1) would cancel.
LB_INLINE Float tanh(Float x) {
    const Float x2 = mul(x, x);
    Float near = fma(same(-0.00570498872745e0f), x2, same(0.0206390887954531f));
    near = fma(near, x2, same(-0.0537397155531016f));
    near = fma(near, x2, same(0.133314422036041f));
    near = fma(near, x2, same(-0.333332819422676f));
    near = fma(mul(near, x2), x, x);
    const Float e = exp2<5>(mul(x, same(2 * kLog2e)));
    const Float far = sub(same(1.0f), div(same(2.0f), add(e, same(1.0f))));
    return choose(less(x2, same(0.625f * 0.625f)), near, far);
}

}  // namespace lookbehind::LOOKBEHIND_SET
