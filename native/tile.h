// The micro-kernel: a tile of scores in registers, queries (in the lanes; 32 of them with AVX-512) by 8 keys.
//
// Queries and keys are rows of 32-bit words: a float32, or a pair of bfloat16 where the set has the dot
// instruction. `depth` counts words.
#pragma once

#include "kernels.h"
#include "simd/common.h"

namespace lookbehind::LOOKBEHIND_SET {

// What the sums are made of: float32 multiply-adds; dot products of bfloat16 pairs, by vectors or by the matrix unit; or
// what that makes of floats, each cut into three bfloat16 (thirds.h).
enum class Unit { real, pair, matrix, thirds };

constexpr bool is_matrix(Unit unit) { return unit == Unit::matrix || unit == Unit::thirds; }
constexpr bool is_pairs(Unit unit) { return unit != Unit::real; }
constexpr bool is_bfloat16(Unit unit) { return unit == Unit::pair || unit == Unit::matrix; }  // as the inputs are
constexpr int parts_of(Unit unit) { return unit == Unit::thirds ? kThirds : 1; }  // words for what one would hold

// What bfloat16 is multiplied by, where kDot, and everything else.
#ifdef LB_HAS_MATRIX
constexpr Unit kPairs = Unit::matrix, kReals = Unit::thirds;
#else
constexpr Unit kPairs = Unit::pair, kReals = Unit::real;
#endif

template <Unit kUnit>
LB_INLINE Float multiply_add(Float a, Float b, Float to) {
#ifdef LB_HAS_DOT
    if constexpr (is_pairs(kUnit)) return dot(bits(a), bits(b), to);
#endif
    return fma(a, b, to);
}

LB_INLINE Float broadcast(const int32_t* word) {
    float x;
    memcpy(&x, word, 4);
    return same(x);
}

#ifndef LB_HAS_DOT
Int pairs(Float low, Float high);  // never called
#endif

// Words of a pair of bfloat16 are no floats, but they travel as such: loads and broadcasts change no bit.
LB_INLINE Float load_words(const int32_t* from) { return bits(load(from)); }

// Element `place` of rows of bfloat16 pairs, lane by lane.
LB_INLINE Float element(Int pairs, int64_t place) {
    return bits(place % 2 ? bit_and(pairs, same(static_cast<int32_t>(0xffff0000))) : shift_left<16>(pairs));
}

// One step of kSub times kVectors sums: to each, its lanes of a row of queries (or weights) times its word, which is at word(j).
template <Unit kUnit, class Word>
LB_INLINE void add_products(const int32_t* row, const Word& word, Float (&sum)[kSub][kVectors]) {
    Float x[kVectors];
    LB_UNROLL
    for (int v = 0; v < kVectors; ++v) x[v] = load_words(row + v * kLanes);
    LB_UNROLL
    for (int j = 0; j < kSub; ++j) {
        const Float one = broadcast(word(j));
        LB_UNROLL
        for (int v = 0; v < kVectors; ++v) sum[j][v] = multiply_add<kUnit>(x[v], one, sum[j][v]);
    }
}

// s_ij of one micro-tile as q_i.k_j, unscaled.
struct Scores {
    Float of[kMicro][kVectors];
};

// Other work to be done among the sums of one micro-tile comes in this many pieces, some at a time: fewer places
// cost fewer instructions around the loops between them.
constexpr int kPieces = kMicro / 2 * kVectors;
constexpr int kPiecesAtOnce = 2;

// q: [depth][kTile], a column a query. k: eight rows, `stride` words apart.
//
// beside(piece) is called for each piece, at even distances in the stream of multiply-adds. They keep two of the
// machine's pipes busy; what runs on the others (rounding, additions, stores) is free if it is close by, and
// the processor looks ahead only some hundred instructions. `piece` is a constant once unrolled.
template <Unit kUnit, class Beside>
LB_INLINE void score(const int32_t* q, const int32_t* k, int64_t stride, int depth, Scores& s, Beside&& beside) {
    constexpr int kPlaces = kPieces / kPiecesAtOnce * kSub / kMicro;
    const int part = depth / kPlaces;
    LB_UNROLL
    for (int first = 0; first < kMicro; first += kSub) {
        Float sum[kSub][kVectors];
        LB_UNROLL
        for (int j = 0; j < kSub; ++j) {
            LB_UNROLL
            for (int v = 0; v < kVectors; ++v) sum[j][v] = same(0.0f);
        }
        const int32_t* low = k + first * stride;
        const int32_t* high = low + kSub / 2 * stride;
        const int32_t* column = q;
        const auto steps = [&](int n) __attribute__((always_inline)) {
            for (int d = 0; d < n; ++d, column += kTile, ++low, ++high) {
                const auto word = [&](int j) __attribute__((always_inline)) {
                    return j < kSub / 2 ? low + j * stride : high + (j - kSub / 2) * stride;
                };
                add_products<kUnit>(column, word, sum);
            }
        };
        LB_UNROLL
        for (int place = 0; place < kPlaces; ++place) {
            LB_UNROLL
            for (int i = 0; i < kPiecesAtOnce; ++i) beside((first / kSub * kPlaces + place) * kPiecesAtOnce + i);
            steps(place + 1 < kPlaces ? part : depth - part * (kPlaces - 1));
        }
        LB_UNROLL
        for (int j = 0; j < kSub; ++j) {
            LB_UNROLL
            for (int v = 0; v < kVectors; ++v) s.of[first + j][v] = sum[j][v];
        }
    }
}

template <Unit kUnit>
LB_INLINE void score(const int32_t* q, const int32_t* k, int64_t stride, int depth, Scores& s) {
    score<kUnit>(q, k, stride, depth, s, [](int) {});
}

// Keys that lie turned: [keys / kTurned][depth][kTurned]; one pointer reaches all of a micro-tile.
constexpr int kTurned = kPanels ? kSub : 2 * kMicro;

// Where the micro-tile at `key` lies among turned keys.
LB_INLINE const int32_t* turned_at(const int32_t* turned, int64_t key, int depth) {
    return turned + key / kTurned * kTurned * depth + key % kTurned;
}

// The scores of a micro-tile of turned keys with nothing beside them, to [kMicro][kTile].
template <Unit kUnit>
[[gnu::noinline]] static void multiply(const int32_t* q, const int32_t* k, int depth, float* to) {
    constexpr int kSteps = kPanels ? 4 : 1;  // at once: a loop of few rounds is foreseen to its end
    for (int first = 0; first < kMicro; first += kSub) {
        Float sum[kSub][kVectors];
        LB_UNROLL
        for (int j = 0; j < kSub; ++j) {
            LB_UNROLL
            for (int v = 0; v < kVectors; ++v) sum[j][v] = same(0.0f);
        }
        const int32_t *column = q, *row = kPanels ? k + first * depth : k + first;
        const auto step = [&]() __attribute__((always_inline)) {
            add_products<kUnit>(column, [&](int j) __attribute__((always_inline)) { return row + j; }, sum);
            column += kTile;
            row += kTurned;
        };
        int d = 0;
        for (; d + kSteps <= depth; d += kSteps) {
            LB_UNROLL
            for (int i = 0; i < kSteps; ++i) step();
        }
        for (; d < depth; ++d) step();
        LB_UNROLL
        for (int j = 0; j < kSub; ++j) {
            LB_UNROLL
            for (int v = 0; v < kVectors; ++v) store(to + (first + j) * kTile + v * kLanes, sum[j][v]);
        }
    }
}

// Values as rows (a key's, or those of a pair of keys) of words, or in panels: where the words of row `row` are from column c on, c a
// multiple of kSub, kSub of them; and how far it is to the next row's.
struct Values {
    static_assert(!kPanels || !kDot);
    const int32_t* first;
    int64_t stride;

    [[gnu::always_inline]] inline const int32_t* at(int64_t row, int64_t c) const {
        constexpr int64_t kIn = kPanelKeys - 1;  // the bits of a row that say where it is in its panel
        if constexpr (kPanels) return first + (row & ~kIn) * stride + c * kPanelKeys + (row & kIn) * kSub;
        return first + row * stride + c;
    }
    [[gnu::always_inline]] inline int64_t step() const { return kPanels ? kSub : stride; }
};

// to [columns][kTile] += values^T p: p is [steps][kTile], values are `steps` rows of `columns` words, a multiple
// of kSub. A step is a key, or a pair of them. `micro_tiles` groups of steps lie at rows[i] of `values`.
template <Unit kUnit>
static void accumulate(const Values& values, const int64_t* rows, int micro_tiles, const int32_t* p, int columns, float* to) {
    constexpr int kSteps = is_pairs(kUnit) ? kMicro / 2 : kMicro;
    const int64_t stride = values.step();
    for (int c = 0; c < columns; c += kSub, to += kSub * kTile) {
        Float sum[kSub][kVectors];
        LB_UNROLL
        for (int i = 0; i < kSub; ++i) {
            LB_UNROLL
            for (int v = 0; v < kVectors; ++v) sum[i][v] = load(to + i * kTile + v * kLanes);
        }
        const int32_t* weight = p;
        for (int m = 0; m < micro_tiles; ++m) {
            const int32_t* row = values.at(rows[m], c);
            LB_UNROLL
            for (int step = 0; step < kSteps; ++step, row += stride, weight += kTile) {
                add_products<kUnit>(weight, [&](int i) __attribute__((always_inline)) { return row + i; }, sum);
            }
        }
        LB_UNROLL
        for (int i = 0; i < kSub; ++i) {
            LB_UNROLL
            for (int v = 0; v < kVectors; ++v) store(to + i * kTile + v * kLanes, sum[i][v]);
        }
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
