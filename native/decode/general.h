// decode of any type by multiply-adds of floats.
//
// What counts is to read memory as fast as it comes. Lanes are elements of a key, or columns of a value.
#pragma once

#include "../observe/lanes.h"
#include "../pack.h"
#include "span.h"

namespace lookbehind::LOOKBEHIND_SET {

constexpr int kPair = 2 * kLanes;  // columns that are read together
constexpr int64_t kLine = 64;      // bytes that memory gives at once

// As many sums of four rows stay in registers, beside what is read: of keys that are scored at once, of pairs of columns' halves.
constexpr int kKeysAtOnce = kSub * kVectors < 16 ? 2 : 4;

constexpr int64_t whole_pairs(int64_t n) { return (n + kPair - 1) / kPair * kPair; }

// kPair elements of a row from `at` on, as floats: the first half and the second; of bfloat16, whose words hold two,
// those at even places and those at odd ones, which costs half as many instructions.
template <Type kType>
LB_INLINE void widen(const void* row, int64_t at, Float& first, Float& second) {
    if constexpr (kType == Type::float32) {
        first = load(static_cast<const float*>(row) + at);
        second = load(static_cast<const float*>(row) + at + kLanes);
    } else if constexpr (kType == Type::bfloat16) {
        const Int words = bits(load_words(reinterpret_cast<const int32_t*>(static_cast<const uint16_t*>(row) + at)));
        first = bits(shift_left<16>(words));
        second = bits(bit_and(words, same(static_cast<int32_t>(0xffff0000))));
    } else {
        first = widen_float16(static_cast<const uint16_t*>(row) + at);
        second = widen_float16(static_cast<const uint16_t*>(row) + at + kLanes);
    }
}

// Where `widen` puts the element at place `at` of a row.
template <Type kType>
constexpr int64_t widened(int64_t at) {
    const int64_t pair = at / kPair * kPair, in = at % kPair;
    return kType == Type::bfloat16 ? pair + in % 2 * kLanes + in / 2 : at;
}

template <Type kType>
class Decoder {
public:
    // Queries, sums, weights and scores; a span's keys and values where they have to be widened first.
    static size_t scratch(const DecodeCall& call) {
        const int64_t width = whole_pairs(call.width), values = whole_pairs(call.value_width);
        return static_cast<size_t>((call.rows() * (width + 2 * kSpan) + kSpan * (width + values)) * 4);
    }

    Decoder(const DecodeUnit& unit, void* scratch)
        : unit_(unit), call_(*unit.call), rows_(call_.rows()), width_(whole_pairs(call_.width)),
          values_(whole_pairs(call_.value_width)), stride_(value_stride(call_.value_width)), q_(static_cast<float*>(scratch)),
          sums_(unit.values), weights_(q_ + rows_ * width_), levels_(weights_ + rows_ * kSpan), wide_keys_(levels_ + rows_ * kSpan),
          wide_values_(wide_keys_ + kSpan * width_), keys_in_place_(call_.width == width_),
          values_in_place_(call_.value_width == values_), walk_(unit), levels_of_(call_.scoring) {}

    void run() {
        for (int r = 0; r < rows_; ++r) take_query(r);
        while (walk_.next()) visit();
    }

    // A row of sums in the order of its columns.
    static void order(const DecodeCall& call, const float* sums, float* columns) {
        const bool in_place = call.value_width == whole_pairs(call.value_width);
        for (int64_t c = 0; c < call.value_width; ++c) columns[c] = sums[in_place ? widened<kType>(c) : c];
    }

private:
    static constexpr int64_t kBytes = kType == Type::float32 ? 4 : 2;

    void take_query(int r) {
        const int64_t query = r / call_.group, head = r % call_.group;
        const char* from = static_cast<const char*>(unit_.q) + (query * call_.q_stride + head * call_.q_head_stride) * kBytes;
        float* const to = q_ + r * width_;
        if (keys_in_place_) {
            for (int64_t d = 0; d < width_; d += kPair) {
                Float x, y;
                widen<kType>(from, d, x, y);
                store(to + d, x);
                store(to + d + kLanes, y);
            }
        } else {
            widen_padded(from, call_.width, to, width_);
        }
        if (!call_.scoring.negative) return;
        for (int64_t d = 0; d < width_; ++d) to[d] = -to[d];
    }

    void visit() {
        const int64_t k_bytes = call_.k_stride * kBytes, v_bytes = call_.v_stride * kBytes;
        const char* k = static_cast<const char*>(unit_.k) + walk_.first() * k_bytes;
        const char* v = static_cast<const char*>(unit_.v) + walk_.first() * v_bytes;
        if (keys_in_place_) {
            score<kType>(k, k_bytes, v);
        } else {
            widen_rows(k, k_bytes, call_.width, wide_keys_, width_);
            score<Type::float32>(reinterpret_cast<const char*>(wide_keys_), width_ * 4, v);
        }
        for (int r = 0; r < rows_; ++r) weigh(r);
        if (call_.value_width == 0) return;
        if (values_in_place_) return add_values<kType>(v, v_bytes);
        widen_rows(v, v_bytes, call_.value_width, wide_values_, values_);
        add_values<Type::float32>(reinterpret_cast<const char*>(wide_values_), values_ * 4);
    }

    void widen_rows(const char* from, int64_t bytes, int64_t width, float* to, int64_t padded) const {
        for (int j = 0; j < walk_.count(); ++j, from += bytes, to += padded) widen_padded(from, width, to, padded);
    }

    static void widen_padded(const char* row, int64_t width, float* to, int64_t padded) {
        widen_row(kType, row, width, to);
        for (int64_t c = width; c < padded; ++c) to[c] = 0;
    }

    // q.k of all rows and keys. What is read next is fetched meanwhile, the values or, where they are not wanted, more
    // keys: the processor's own prefetching stops at each page.
    template <Type kOf>
    void score(const char* k, int64_t bytes, const char* v) {
        const int count = walk_.count();
        const bool values = call_.value_width > 0;
        const char* fetched = values ? v : static_cast<const char*>(unit_.k) + (walk_.first() + kSpan) * call_.k_stride * kBytes;
        const int64_t fetched_bytes = (values ? call_.v_stride : call_.k_stride) * kBytes;
        const int64_t width = (values ? call_.value_width : call_.width) * kBytes;
        const int fetches = values ? count : walk_.followed() ? kSpan : 0;
        const Ahead keys_ahead(k, bytes), fetched_ahead(fetched, fetched_bytes);
        for (int j = 0; j < count; j += kKeysAtOnce) {
            if (j % 4 == 0) {
                keys_ahead.touch(j);
                fetched_ahead.touch(j);
            }
            const char* key[kKeysAtOnce];
            for (int i = 0; i < kKeysAtOnce; ++i) {
                key[i] = k + (j + i < count ? j + i : count - 1) * bytes;  // one that is not there is hidden later
                if (fetched_at(j + i) < fetches) fetch(fetched + fetched_at(j + i) * fetched_bytes, width);
            }
            int r = 0;
            for (; r + 4 <= rows_; r += 4) score_some<kOf, 4>(key, r, j);
            for (; r + 2 <= rows_; r += 2) score_some<kOf, 2>(key, r, j);
            if (r < rows_) score_some<kOf, 1>(key, r, j);
        }
    }

    static void fetch(const char* row, int64_t bytes) {
        for (int64_t byte = 0; byte < bytes; byte += kLine) __builtin_prefetch(row + byte);
    }

    template <Type kOf, int kRows>
    [[gnu::always_inline]] inline void score_some(const char* const (&key)[kKeysAtOnce], int row, int j) {
        constexpr int kKeys = kKeysAtOnce;
        Float sum[kRows][kKeys];
        LB_UNROLL
        for (int r = 0; r < kRows; ++r) {
            LB_UNROLL
            for (int i = 0; i < kKeys; ++i) sum[r][i] = same(0.0f);
        }
        // All keys side by side: sums of one key after another would wait for each other.
        const float* const q = q_ + row * width_;
        for (int64_t d = 0; d < width_; d += kPair) {
            Float x[kKeys], y[kKeys];
            LB_UNROLL
            for (int i = 0; i < kKeys; ++i) widen<kOf>(key[i], d, x[i], y[i]);
            LB_UNROLL
            for (int r = 0; r < kRows; ++r) {
                const Float first = load(q + r * width_ + d), second = load(q + r * width_ + d + kLanes);
                LB_UNROLL
                for (int i = 0; i < kKeys; ++i) sum[r][i] = fma(x[i], first, sum[r][i]);
                LB_UNROLL
                for (int i = 0; i < kKeys; ++i) sum[r][i] = fma(y[i], second, sum[r][i]);
            }
        }
        constexpr int kTogether = kMicro / kKeys;  // rows
        LB_UNROLL
        for (int r = 0; r < kRows; r += kTogether) {
            Float some[kMicro];
            LB_UNROLL
            for (int i = 0; i < kMicro; ++i) some[i] = sum[r + i / kKeys < kRows ? r + i / kKeys : kRows - 1][i % kKeys];
            float sums[kMicro];
            lane_sums(some, sums);
            for (int i = 0; i < kTogether && r + i < kRows; ++i) {
                memcpy(levels_ + (row + r + i) * kSpan + j, sums + i * kKeys, kKeys * 4);
            }
        }
    }

    // From a row's products to its weights, and what it has summed up to the new level. Lanes are keys.
    void weigh(int r) {
        const int query = r / call_.group;
        const Slope slope = slope_of(unit_, r);
        float* const levels = levels_ + r * kSpan;
        float* const weights = weights_ + r * kSpan;
        Float top = same(unit_.level[r]);
        for (int j = 0; j < kSpan; j += kLanes) {
            const Float apart = add(count_up(), same(static_cast<float>(walk_.first() + j - slope.from)));
            Float x = levels_of_.of(load(levels + j), same(slope.bits), same(slope.rest), apart);
            x = choose(lanes(static_cast<uint32_t>(walk_.seen(query) >> j)), x, same(-kInfinity));
            store(levels + j, x);
            top = max(x, top);
        }
        const float level = max_of(min(top, same(kHuge)));
        Float sum = same(0.0f);
        for (int j = 0; j < kSpan; j += kLanes) {
            Float weight = exp2<5>(mul(sub(load(levels + j), same(level)), same(levels_of_.unit)));
            // Where the scale is 0, so is the distance to what is hidden.
            weight = keep(lanes(static_cast<uint32_t>(walk_.seen(query) >> j)), weight);
            store(weights + j, weight);
            sum = add(sum, weight);
        }
        raise(unit_, levels_of_, r, level);
        unit_.sum[r] += sum_of(sum);
    }

    template <Type kOf>
    void add_values(const char* v, int64_t bytes) {
        if (!walk_.full()) return add_some_values<kOf>(v, bytes);
        fetched_ = 0;
        int r = 0;
        for (; r + 4 <= rows_; r += 4) add_rows<kOf, 4>(r, v, bytes);
        for (; r + 2 <= rows_; r += 2) add_rows<kOf, 2>(r, v, bytes);
        if (r < rows_) add_rows<kOf, 1>(r, v, bytes);
    }

    template <Type kOf, int kRows>
    void add_rows(int row, const char* v, int64_t bytes) {
        constexpr int kPairs = kRows < 4 ? kKeysAtOnce : kKeysAtOnce / 2;
        int64_t c = 0;
        for (; c + kPairs * kPair <= values_; c += kPairs * kPair) add_block<kOf, kRows, kPairs>(row, c, v, bytes);
        for (; c < values_; c += kPair) add_block<kOf, kRows, 1>(row, c, v, bytes);
    }

    // The next span's keys are fetched meanwhile, each block its share: memory that waits while others are computed is lost.
    // A row is asked for whole; the keys until the next are a loop that counts nothing else.
    template <Type kOf, int kRows, int kPairs>
    [[gnu::noinline]] void add_block(int row, int64_t column, const char* v, int64_t bytes) {
        Float sum[kRows][2 * kPairs];
        float* const to = sums_ + row * stride_ + column;
        LB_UNROLL
        for (int r = 0; r < kRows; ++r) {
            LB_UNROLL
            for (int c = 0; c < 2 * kPairs; ++c) sum[r][c] = load(to + r * stride_ + c * kLanes);
        }
        const float* const weights = weights_ + row * kSpan;
        const int64_t next_bytes = call_.k_stride * kBytes, width = call_.width * kBytes;
        const char* const next = static_cast<const char*>(unit_.k) + (walk_.first() + kSpan) * next_bytes;
        const int64_t done = row * values_ + (column + kPairs * kPair) * kRows;  // with this block, of rows_ * values_
        const int fetches = walk_.followed() ? static_cast<int>(kSpan * done / (rows_ * values_)) - fetched_ : 0;
        const int count = walk_.count(), each = fetches > 0 ? (count + fetches - 1) / fetches : count;
        for (int j = 0; j < count;) {
            if (fetches > 0) fetch(next + fetched_at(fetched_++) * next_bytes, width);
            for (const int stop = j + each < count ? j + each : count; j < stop; ++j, v += bytes) {
                Float weight[kRows];
                LB_UNROLL
                for (int r = 0; r < kRows; ++r) weight[r] = same(weights[r * kSpan + j]);
                LB_UNROLL
                for (int c = 0; c < kPairs; ++c) {
                    Float x, y;
                    widen<kOf>(v, column + c * kPair, x, y);
                    LB_UNROLL
                    for (int r = 0; r < kRows; ++r) {
                        sum[r][2 * c] = fma(x, weight[r], sum[r][2 * c]);
                        sum[r][2 * c + 1] = fma(y, weight[r], sum[r][2 * c + 1]);
                    }
                }
            }
        }
        LB_UNROLL
        for (int r = 0; r < kRows; ++r) {
            LB_UNROLL
            for (int c = 0; c < 2 * kPairs; ++c) store(to + r * stride_ + c * kLanes, sum[r][c]);
        }
    }

    // Where some query does not see some key: its value may be NaN, and must not meet a weight of 0.
    template <Type kOf>
    void add_some_values(const char* v, int64_t bytes) {
        for (int j = 0; j < walk_.count(); ++j, v += bytes) {
            for (int r = 0; r < rows_; ++r) {
                if (!(walk_.seen(r / call_.group) >> j & 1)) continue;
                const Float weight = same(weights_[r * kSpan + j]);
                float* const to = sums_ + r * stride_;
                for (int64_t c = 0; c < values_; c += kPair) {
                    Float x, y;
                    widen<kOf>(v, c, x, y);
                    store(to + c, fma(x, weight, load(to + c)));
                    store(to + c + kLanes, fma(y, weight, load(to + c + kLanes)));
                }
            }
        }
    }

    const DecodeUnit& unit_;
    const DecodeCall& call_;
    const int rows_;
    const int64_t width_, values_;  // padded
    const int64_t stride_;
    float* const q_;                              // [rows][width], in the order that keys are widened to
    float* const sums_;                           // [rows][stride], in the order that values are widened to
    float *const weights_, *const levels_;        // [rows][kSpan]
    float *const wide_keys_, *const wide_values_; // [kSpan][width], [kSpan][values]
    const bool keys_in_place_, values_in_place_;  // rows are whole pairs
    int fetched_ = 0;                             // of the next span's keys
    SpanWalk<kSpan> walk_;
    const Levels levels_of_;
};

}  // namespace lookbehind::LOOKBEHIND_SET
