// Floats as sums of three bfloat16, which the matrix unit multiplies: float32 products at more than twice the vectors' rate.
//
// A float's 24 digits are the first 8, 8 more and the last 8. Of the nine products of two floats' thirds six are summed;
// the three left out are each 2^-23 of the whole at most. Where |x| < 2^-103 last digits are lost, as the unit takes
// subnormal numbers for 0. An infinity or a NaN is all first third, and does not bear being multiplied piecewise (infinity
// times a third that is 0): such scores are mended by multiply-adds.
#pragma once

#include "../kernels.h"
#include "../tile.h"
#include "registers.h"

namespace lookbehind::LOOKBEHIND_SET {

constexpr int64_t kThirdOfWeights = kMatrixSide / 2 * kTile;  // words from third to third of kMatrixSide keys' weights

// What each third of a meets of b, such that from one product to the next one of both stays: in its registers.
constexpr int kMeetings = 6;
constexpr int kThirdOfA[kMeetings] = {2, 1, 1, 0, 0, 0};
constexpr int kThirdOfB[kMeetings] = {0, 0, 1, 1, 0, 2};

// The two halves of a float's word: all ones of the upper one, and half a unit of it.
struct Halves {
    Int upper = same(static_cast<int32_t>(0xffff0000)), half = same(0x8000);
};

// The thirds of finite floats: words whose upper halves they are, the lower ones 0. Exact but for subnormal thirds. The
// second is rounded, so that what is left out of products is of either sign.
LB_INLINE void cut(Float x, Int (&third)[kThirds], const Halves& of = {}) {
    third[0] = bit_and(bits(x), of.upper);
    const Float rest = sub(x, bits(third[0]));
    third[1] = bit_and(add(bits(rest), of.half), of.upper);
    third[2] = bit_and(bits(sub(rest, bits(third[1]))), of.upper);
}

LB_INLINE Mask is_finite(Float x) { return less(bits(bit_and(bits(x), same(0x7fffffff))), same(kInfinity)); }

// The same of any floats: what is not finite is all first third.
LB_INLINE void cut_any(Float x, Int (&third)[kThirds]) {
    const Mask finite = is_finite(x);
    cut(keep(finite, x), third);
    const Float first = choose(finite, bits(third[0]), add(x, x));  // of a NaN the upper half alone is one then
    third[0] = bit_and(bits(first), same(static_cast<int32_t>(0xffff0000)));
}

// A pair of bfloat16 without those that are NaN or infinite.
LB_INLINE int32_t finite_of(int32_t pair) {
    if ((pair & 0x7f80) == 0x7f80) pair &= static_cast<int32_t>(0xffff0000);
    if ((pair & 0x7f800000) == 0x7f800000) pair &= 0xffff;
    return pair;
}

// The scores of kMatrixSide keys, rows of `depth` words, and a tile of queries where one of both is NaN or infinite.
[[gnu::noinline]] static void mend_scores(const int32_t* keys, int64_t stride, const int32_t* q, int depth, float* scores) {
    const int words = depth / kThirds;
    const auto whole = [words](const int32_t* from, int64_t step, int64_t place, bool broadcasts) {
        Float sum = same(0.0f);
        for (int third = kThirds - 1; third >= 0; --third) {
            const int32_t* const at = from + (third * words + place / 2) * step;
            sum = add(element(broadcasts ? same(*at) : load(at), place), sum);
        }
        return sum;
    };
    for (int v = 0; v < kVectors; ++v) {
        for (int64_t j = 0; j < kMatrixSide; ++j) {
            Float sum = same(0.0f);
            Mask finite = lanes(~0u);
            for (int64_t place = 0; place < 2 * words; ++place) {
                const Float key = whole(keys + j * stride, 1, place, true), query = whole(q + v * kLanes, kTile, place, false);
                finite = both(finite, both(is_finite(key), is_finite(query)));
                sum = fma(key, query, sum);
            }
            float* const score = scores + j * kTile + v * kLanes;
            store(score, choose(finite, load(score), sum));
        }
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
