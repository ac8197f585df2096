// From q_i.k_j to the exponent of a weight: scale, softcap and ALiBi, in bits (base 2) rather than nats.
//
// Positions are floats here: exact up to 2^24.
#pragma once

#include "kernels.h"
#include "tile.h"

namespace lookbehind::LOOKBEHIND_SET {

// Which of them a call has; a template argument, so that what is not there is not paid for.
enum Extra : int { kPlain = 0, kSoftcap = 1, kAlibi = 2 };

// The constants of one tile of queries. kInBits: whether levels are in bits, see below.
template <int kExtra, bool kLevelsInBits>
struct Bits {
    static constexpr bool kInBits = kLevelsInBits;
    float scale, scale_in_nats;  // per unit of what `bend` returns
    float into;       // score to the argument of tanh
    float slope, slope_rest;  // bits per position, as the sum of two floats: the product with a distance is exact
    float step[kMicro];       // slope times 0, 1, 2, ...
    Float position[kVectors];

    [[gnu::always_inline]] static inline Bits make(const Scoring& scoring, const QueryTile& tile) {
        Bits bits = {};
        const double log2e = 1.4426950408889634073;
        if constexpr (kExtra & kSoftcap) {
            bits.scale = static_cast<float>(scoring.softcap * log2e);
            bits.scale_in_nats = scoring.softcap;
            bits.into = static_cast<float>(static_cast<double>(scoring.scale) / scoring.softcap);
        } else {
            bits.scale = static_cast<float>(scoring.scale * log2e);
            bits.scale_in_nats = scoring.scale;
        }
        if constexpr (kExtra & kAlibi) {
            bits.slope = static_cast<float>(tile.slope * log2e);
            bits.slope_rest = static_cast<float>(tile.slope * log2e - bits.slope);
            for (int j = 0; j < kMicro; ++j) bits.step[j] = static_cast<float>(tile.slope * log2e * j);
            for (int v = 0; v < kVectors; ++v) {
                bits.position[v] = add(count_up(), same(static_cast<float>(tile.position + v * kLanes)));
            }
        }
        return bits;
    }

    // q_i.k_j, softly capped where that is asked; still to be scaled.
    [[gnu::always_inline]] inline Float bend(Float product) const {
        if constexpr (kExtra & kSoftcap) return tanh(mul(product, same(into)));
        return product;
    }

    // score in bits + `more` (such as minus the lse): one rounding, so that large scores near `more` stay exact.
    [[gnu::always_inline]] inline Float exponent(Float product, int v, int64_t key, Float more) const {
        return fma(bend(product), same(scale), biased(v, key, more));
    }

    // A level orders the scores of a query: the score in bits, or before it is scaled, so that equal scores are exactly
    // 0 bits apart, however large they are. In bits they are apart by what rounding the reference costs, the same
    // for all keys of a query; where there is a bias that cannot be helped.
    [[gnu::always_inline]] inline Float level(Float product, int v, int64_t key) const {
        if constexpr (kInBits) return exponent(product, v, key, same(0.0f));
        return bend(product);
    }

    // What `above` needs to know of a level, for the micro-tile that begins at that key.
    [[gnu::always_inline]] inline Float base(int v, int64_t key, Float reference) const {
        if constexpr (kInBits) return biased(v, key, sub(same(0.0f), reference));
        return reference;
    }

    // How many bits the score of the micro-tile's key j is above the level that `base` was told.
    [[gnu::always_inline]] inline Float above(Float product, int j, Float base) const {
        if constexpr (kExtra & kAlibi) return fma(bend(product), same(scale), add(base, same(step[j])));
        if constexpr (kInBits) return fma(bend(product), same(scale), base);
        return apart(bend(product), base);
    }

    // How many bits one level is above another.
    [[gnu::always_inline]] inline Float apart(Float one, Float other) const {
        if constexpr (kInBits) return sub(one, other);
        return mul(sub(one, other), same(scale));
    }

    // The level to weigh against where this is the highest so far. A bias that rises from key to key would soon
    // be above any such level: it is given a lead, which costs nothing but exponent.
    [[gnu::always_inline]] inline Float ahead(Float level) const {
        if constexpr (kExtra & kAlibi) return add(level, same(slope > 0 ? 16.0f : 0.0f));
        return level;
    }

    // How many bits a score is above a level.
    [[gnu::always_inline]] inline Float bits_above(Float score, Float reference) const {
        return fma(sub(same(0.0f), reference), same(kInBits ? 1.0f : scale), mul(score, same(kLog2e)));
    }

    // The score of that level.
    [[gnu::always_inline]] inline Float nats(Float reference) const {
        return mul(reference, same(kInBits ? kLn2 : scale_in_nats));
    }

private:
    [[gnu::always_inline]] inline Float biased(int v, int64_t key, Float more) const {
        if constexpr (kExtra & kAlibi) {
            const Float apart = sub(same(static_cast<float>(key)), position[v]);
            return fma(same(slope_rest), apart, fma(same(slope), apart, more));
        }
        return more;
    }
};

// Those of a unit. For bfloat16 the matrix unit leaves the vectors with nothing but weights, so an instruction is worth
// what it costs in exactness; float32 is held to more.
template <Unit kUnit, int kExtra>
using BitsFor = Bits<kExtra, (kExtra & kAlibi) != 0 || kUnit == Unit::matrix>;

// Calls `body.template operator()<extra>()` with what the call has.
template <class Body>
LB_INLINE void with_extra(const Scoring& scoring, const Body& body) {
    switch ((scoring.softcap > 0 ? kSoftcap : 0) | (scoring.alibi ? kAlibi : 0)) {
        case kPlain: return body.template operator()<kPlain>();
        case kSoftcap: return body.template operator()<kSoftcap>();
        case kAlibi: return body.template operator()<kAlibi>();
        default: return body.template operator()<kSoftcap | kAlibi>();
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
