// decode of bfloat16 by the matrix unit, for keys that are whole spans of its own.
//
// A register takes 16 keys that lie 16 apart: so a core reads 16 stretches of memory side by side, and fetches by itself
// what comes next of each, faster than it does in any order that it was told. Keys times queries are scores. Values are
// taken as they lie as well, though the unit multiplies pairs of keys and finds pairs of columns: a weight with a 0 behind
// it adds up the even column, one with a 0 before it the odd one. A weight is the sum of two bfloat16.
#pragma once

#include "../matrix/mill.h"
#include "span.h"

namespace lookbehind::LOOKBEHIND_SET {

class MatrixDecoder {
public:
    static constexpr int kKeys = kSide * kSide;  // of a span: key kSide * i + j is in row i of register j
    static_assert(kDecodeKeys % kKeys == 0);

    static bool takes(const DecodeCall& call) { return call.width % kStep == 0 && call.value_width % kStep == 0; }

    static size_t scratch(const DecodeCall& call) {
        return static_cast<size_t>(blocks(call) * block_words(call) + kSide * kKeys + 2 * kRegister * kSide + kKeys * kWords) * 4;
    }

    MatrixDecoder(const DecodeUnit& unit, void* scratch)
        : unit_(unit), call_(*unit.call), rows_(call_.rows()), k_bytes_(call_.k_stride * 2), v_bytes_(call_.v_stride * 2),
          q_(static_cast<int32_t*>(scratch)), levels_(reinterpret_cast<float*>(q_ + blocks(call_) * block_words(call_))),
          weights_(reinterpret_cast<int32_t*>(levels_ + kSide * kKeys)),
          products_(reinterpret_cast<float*>(weights_ + kRegister * kSide)),
          finite_(reinterpret_cast<int32_t*>(products_ + kRegister * kSide)), walk_(unit), levels_of_(call_.scoring) {}

    void run() {
        for (int64_t block = 0; block < blocks(call_); ++block) take_queries(block);
        memset(weights_, 0, kRegister * kSide * 4);  // those of rows that do not exist too
        const Shaped shaped;
        while (walk_.next()) {
            const char* const k = static_cast<const char*>(unit_.k) + walk_.first() * k_bytes_;
            for (int64_t block = 0; block < blocks(call_); ++block) visit(k, block);
        }
    }

private:
    static constexpr int kRows = 4;                  // that meet values at once: even and odd columns of two parts are 16 sums
    static constexpr int kTiles = 4;                 // registers of sums
    static constexpr int kWords = kTiles * kSide;    // pairs of columns that they sum
    static constexpr int kRegister = kSide * kSide;  // words

    static int64_t blocks(const DecodeCall& call) { return (call.rows() + kSide - 1) / kSide; }  // of rows that meet keys at once
    static int64_t block_words(const DecodeCall& call) { return call.width / 2 * kSide; }        // of queries

    // [pairs of elements][kSide rows]
    void take_queries(int64_t block) {
        int32_t* const to = q_ + block * block_words(call_);
        memset(to, 0, static_cast<size_t>(block_words(call_)) * 4);
        for (int r = 0; r < kSide && block * kSide + r < rows_; ++r) {
            const int64_t row = block * kSide + r, query = row / call_.group, head = row % call_.group;
            const uint16_t* const from = static_cast<const uint16_t*>(unit_.q) + query * call_.q_stride + head * call_.q_head_stride;
            for (int64_t d = 0; d < call_.width / 2; ++d) {
                int32_t pair;
                memcpy(&pair, from + 2 * d, 4);
                to[d * kSide + r] = pair ^ call_.scoring.signs();
            }
        }
    }

    void visit(const char* k, int64_t block) {
        const int first = static_cast<int>(block) * kSide, rows = rows_ - first < kSide ? rows_ - first : kSide;
        score(q_ + block * block_words(call_), k, rows);
        const char* const v = static_cast<const char*>(unit_.v) + walk_.first() * v_bytes_;
        if (call_.value_width) touch(v);
        for (int at = 0; at < rows; at += kRows) {
            const int n = rows - at < kRows ? rows - at : kRows;
            for (int r = 0; r < n; ++r) weigh(first + at + r, levels_ + (at + r) * kKeys, r);
            for (int64_t column = 0; column < call_.value_width; column += 2 * kWords) {
                add_values(v + column * 2, first + at, n, levels_ + at * kKeys, column);
            }
        }
    }

    // One read of each stretch, and the core goes on with them while weights are made. To ask for more than that, or by
    // instructions that fetch and do not read, was slower.
    void touch(const char* v) const {
        for (int i = 0; i < kSide; ++i) static_cast<void>(*static_cast<const volatile char*>(v + i * kSide * v_bytes_));
    }

    // levels_ = q.k, [kSide rows][register][row of the register].
    void score(const int32_t* q, const char* k, int rows) {
        // Where few columns count, what is stored of the others is overwritten by the row that follows: the unit stores rows in
        // ascending order.
        const bool few = rows <= kRows;
        const int64_t kept = few ? kRows : kSide;
        float scores[kSide * kRegister];
        for (int j = 0; j < kSide; ++j, k += k_bytes_) {
            zero_rows<0>();
            for (int64_t d = 0; d < call_.width; d += kStep) {
                load_rows<4>(q + d / 2 * kSide, kSide * 4);
                stream_rows<5>(k + d * 2, kSide * k_bytes_);
                multiply_rows<0, 5, 4>();
            }
            store_rows<0>(scores + j * kSide * kept, kept * 4);
        }
        for (int j = 0; j < kSide; ++j) {
            const float* const from = scores + j * kSide * kept;
            if (few) transpose_four(from, levels_ + j * kSide, kKeys);
            else transpose(reinterpret_cast<const int32_t*>(from), kSide, reinterpret_cast<int32_t*>(levels_) + j * kSide, kKeys);
        }
    }

    // From a row's products to its weights, and what it has summed up to the new level. place: among the kRows.
    void weigh(int row, float* levels, int place) {
        const int query = row / call_.group;
        const bool plain = !levels_of_.softcap && !levels_of_.alibi;
        const Slope slope = slope_of(unit_, row);
        Float top = same(unit_.level[row]);
        for (int j = 0; j < kSide; ++j) {
            Float x = load(levels + j * kSide);
            if (!plain) {
                const float first = static_cast<float>(walk_.first() + j - slope.from);
                const Float apart = fma(count_up(), same(static_cast<float>(kSide)), same(first));
                x = levels_of_.of(x, same(slope.bits), same(slope.rest), apart);
            }
            if (!walk_.full()) x = choose(lanes(seen(query, j)), x, same(-kInfinity));
            if (!plain || !walk_.full()) store(levels + j * kSide, x);
            top = max(x, top);
        }
        const float level = max_of(min(top, same(kHuge)));
        Float sum = same(0.0f);
        for (int j = 0; j < kSide; ++j) {
            Float weight = exp2<5>(mul(sub(load(levels + j * kSide), same(level)), same(levels_of_.unit)));
            if (!walk_.full()) weight = keep(lanes(seen(query, j)), weight);  // where the scale is 0, it is 1
            store(levels + j * kSide, weight);
            sum = add(sum, weight);
            const Int upper = same(static_cast<int32_t>(0xffff0000)), first = bit_and(bits(weight), upper);
            const Int second = bit_and(bits(sub(weight, bits(first))), upper);
            int32_t* const to = weights_ + j * kRegister + place * kSide;
            store(to, shift_right_unsigned<16>(first));
            store(to + kRows * kSide, first);
            store(to + 2 * kRows * kSide, shift_right_unsigned<16>(second));
            store(to + 3 * kRows * kSide, second);
        }
        raise(unit_, levels_of_, row, level);
        unit_.sum[row] += sum_of(sum);
    }

    // Bit i: whether the query sees row i of register j.
    uint32_t seen(int query, int j) const {
        uint32_t word = 0;
        for (int i = 0; i < kSide; ++i) word |= static_cast<uint32_t>(walk_.seen(query, kSide * i + j)) << i;
        return word;
    }

    // -- values -------------------------------------------------------------------------------------------------

    // Weights of n rows, which are also those, times values, of at most 2 kWords columns.
    void add_values(const char* v, int row, int n, const float* weights, int64_t column) {
        const int64_t left = (call_.value_width - column) / kStep;
        const int tiles = left < kTiles ? static_cast<int>(left) : kTiles;
        multiply_values(v, v_bytes_, tiles);
        if (!finite(n, tiles)) multiply_odd(v, row, n, weights, tiles);
        const int64_t stride = value_stride(call_.value_width);
        for (int r = 0; r < n; ++r) {
            for (int t = 0; t < tiles; ++t) {
                for (int odd = 0; odd < 2; ++odd) {
                    float* const sum = unit_.values + (row + r) * stride + column + (2 * t + odd) * kSide;
                    store(sum, add(load(sum), product(r, t, odd)));
                }
            }
        }
    }

    void multiply_values(const char* v, int64_t bytes, int tiles) {
        if (tiles == 4) multiply_tiles<4>(v, bytes);
        else if (tiles == 3) multiply_tiles<3>(v, bytes);
        else if (tiles == 2) multiply_tiles<2>(v, bytes);
        else multiply_tiles<1>(v, bytes);
    }

    template <int kSome>
    void multiply_tiles(const char* v, int64_t bytes) {
        for_each<0, kSome>([](auto t) __attribute__((always_inline)) { zero_rows<t.value>(); });
        for (int j = 0; j < kSide; ++j, v += bytes) {
            load_rows<4>(weights_ + j * kRegister, kSide * 4);
            for_each<0, kSome>([&](auto t) __attribute__((always_inline)) {
                stream_rows<5 + t.value % 2>(v + t.value * kStep * 2, kSide * bytes);
                multiply_rows<t.value, 4, 5 + t.value % 2>();
            });
        }
        for_each<0, kSome>([&](auto t) __attribute__((always_inline)) {
            store_rows<t.value>(products_ + t.value * kRegister, kSide * 4);
        });
    }

    // What a row gains in the even, or odd, columns of a register.
    float* part(int r, int t, int odd, int part) const { return products_ + t * kRegister + ((2 * part + odd) * kRows + r) * kSide; }
    Float product(int r, int t, int odd) const { return add(load(part(r, t, odd, 0)), load(part(r, t, odd, 1))); }

    bool finite(int n, int tiles) const {
        bool all = true;
        for (int i = 0; i < n * tiles * 2; ++i) {
            const Float size = bits(bit_and(bits(product(i / 2 % n, i / 2 / n, i % 2)), same(0x7fffffff)));
            all &= !any(not_less(size, same(kInfinity)));
        }
        return all;
    }

    // The products again where some value may be NaN or infinite, and meets weights of 0 that are none of its own: those are
    // left to the rows that see their keys. The others get the same sums, bit for bit, whatever such a value is.
    [[gnu::noinline]] void multiply_odd(const char* v, int row, int n, const float* weights, int tiles) {
        const int words = tiles * kSide;
        for (int64_t key = 0; key < kKeys; ++key) {
            int32_t* const to = finite_ + key * words;
            memcpy(to, v + key * v_bytes_, static_cast<size_t>(words) * 4);
            for (int c = 0; c < words; ++c) to[c] = finite_of(to[c]);
        }
        multiply_values(reinterpret_cast<const char*>(finite_), words * 4, tiles);
        for (int key = 0; key < kKeys; ++key) {
            for (int c = 0; c < words; ++c) {
                int32_t pair;
                memcpy(&pair, v + key * v_bytes_ + c * 4, 4);
                if (pair != finite_[key * words + c]) add_odd(key, c, pair, row, n, weights);
            }
        }
    }

    // The halves that `finite_of` has taken away.
    void add_odd(int key, int word, int32_t pair, int row, int n, const float* weights) {
        const uint32_t gone = static_cast<uint32_t>(pair ^ finite_of(pair));
        for (int odd = 0; odd < 2; ++odd) {
            if ((odd ? gone >> 16 : gone & 0xffff) == 0) continue;
            const float value = bfloat16_to_float(static_cast<uint16_t>(static_cast<uint32_t>(pair) >> 16 * odd));
            for (int r = 0; r < n; ++r) {
                if (!walk_.seen((row + r) / call_.group, key)) continue;
                part(r, word / kSide, odd, 0)[word % kSide] += weights[r * kKeys + key % kSide * kSide + key / kSide] * value;
            }
        }
    }

    const DecodeUnit& unit_;
    const DecodeCall& call_;
    const int rows_;
    const int64_t k_bytes_, v_bytes_;  // from key to key
    int32_t* const q_;         // [blocks][block_words]
    float* const levels_;      // [kSide rows][register][row of the register]; then weights
    int32_t* const weights_;   // [register][2 parts][for even, for odd columns][kRows][key of the register]
    float* const products_;    // [tile][2 parts][even, odd columns][kRows][kSide]
    int32_t* const finite_;    // [kKeys][at most kWords]
    SpanWalk<kKeys> walk_;
    const Levels levels_of_;
};

}  // namespace lookbehind::LOOKBEHIND_SET
