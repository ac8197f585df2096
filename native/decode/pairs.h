// decode of bfloat16 where the set has the dot product of pairs: half the instructions of general.h.
//
// Keys are multiplied as they are, two columns at a time; values two keys at a time, with weights rounded to
// bfloat16 as in attend.h. Products, levels and weights lie as [pair of keys][row][2]: so the weights of a pair, narrowed,
// are the words that multiply two values.
#pragma once

#include "../observe/lanes.h"
#include "../pack.h"
#include "span.h"

namespace lookbehind::LOOKBEHIND_SET {

class PairDecoder {
public:
    static constexpr int64_t kColumns = 2 * kLanes;  // elements of a vector
    static constexpr int kRows = 4;                  // at once

    static int64_t padded(int64_t n) { return (n + kColumns - 1) / kColumns * kColumns; }

    static size_t scratch(const DecodeCall& call) {
        const int64_t width = padded(call.width), values = padded(call.value_width);
        return static_cast<size_t>(call.rows() * width / 2 * 4 + (2 + 1) * kRows * kSpan * 4 +
                                   (kSpan * (width + values) + values) * 2);
    }

    PairDecoder(const DecodeUnit& unit, void* scratch)
        : unit_(unit), call_(*unit.call), rows_(call_.rows()), width_(padded(call_.width)),
          values_(padded(call_.value_width)), q_(static_cast<int32_t*>(scratch)),
          sums_(unit.values), levels_(reinterpret_cast<float*>(q_ + rows_ * width_ / 2)),
          weights_(levels_ + kRows * kSpan), words_(reinterpret_cast<int32_t*>(weights_ + kRows * kSpan)),
          copied_keys_(reinterpret_cast<uint16_t*>(words_ + kRows * kSpan)),
          copied_values_(copied_keys_ + kSpan * width_), zeros_(copied_values_ + kSpan * values_), walk_(unit),
          levels_of_(call_.scoring) {}

    void run() {
        for (int r = 0; r < rows_; ++r) {
            const int64_t query = r / call_.group, head = r % call_.group;
            const uint16_t* from = static_cast<const uint16_t*>(unit_.q) + query * call_.q_stride + head * call_.q_head_stride;
            copy_row(from, call_.width, reinterpret_cast<uint16_t*>(q_ + r * width_ / 2), width_);
        }
        for (int64_t i = 0; i < rows_ * width_ / 2; ++i) q_[i] ^= call_.scoring.signs();
        memset(zeros_, 0, static_cast<size_t>(values_) * 2);
        while (walk_.next()) visit();
    }

    // A row of sums in the order of its columns.
    static void order(const DecodeCall& call, const float* sums, float* columns) {
        for (int64_t c = 0; c < call.value_width; ++c) columns[c] = sums[placed(c)];
    }

private:
    static void copy_row(const uint16_t* from, int64_t n, uint16_t* to, int64_t padded) {
        memcpy(to, from, static_cast<size_t>(n) * 2);
        memset(to + n, 0, static_cast<size_t>(padded - n) * 2);
    }

    // Where `interleave` puts the column at place c: it works within quarters of a vector.
    static int64_t placed(int64_t c) {
        const int64_t in = c % kColumns;
        return c / kColumns * kColumns + in % 8 / 4 * kLanes + in / 8 * 4 + in % 4;
    }

    void visit() {
        const uint16_t* k = static_cast<const uint16_t*>(unit_.k) + walk_.first() * call_.k_stride;
        const uint16_t* v = static_cast<const uint16_t*>(unit_.v) + walk_.first() * call_.v_stride;
        // While keys are multiplied their values are fetched; or, where these are not wanted, the next keys.
        const bool values = call_.value_width > 0;
        fetched_ = values ? v : walk_.followed() ? k + kSpan * call_.k_stride : nullptr;
        fetched_stride_ = values ? call_.v_stride : call_.k_stride;
        int64_t k_stride = call_.k_stride, v_stride = call_.v_stride;
        if (width_ != call_.width) {
            for (int j = 0; j < walk_.count(); ++j) copy_row(k + j * k_stride, call_.width, copied_keys_ + j * width_, width_);
            k = copied_keys_;
            k_stride = width_;
        }
        if (call_.value_width && values_ != call_.value_width) {
            for (int j = 0; j < walk_.count(); ++j) copy_row(v + j * v_stride, call_.value_width, copied_values_ + j * values_, values_);
            v = copied_values_;
            v_stride = values_;
        }
        int r = 0;
        for (; r + 4 <= rows_; r += 4) visit_rows<4>(r, k, k_stride, v, v_stride);
        for (; r + 2 <= rows_; r += 2) visit_rows<2>(r, k, k_stride, v, v_stride);
        if (r < rows_) visit_rows<1>(r, k, k_stride, v, v_stride);
    }

    template <int kR>
    void visit_rows(int row, const uint16_t* k, int64_t k_stride, const uint16_t* v, int64_t v_stride) {
        if (row > 0) fetched_ = nullptr;
        if (width_ == 4 * kColumns) {
            score<kR, 4>(row, k, k_stride);
        } else if (width_ == 2 * kColumns) {
            score<kR, 2>(row, k, k_stride);
        } else {
            score_any<kR>(row, k, k_stride);
        }
        weigh<kR>(row);
        if (call_.value_width == 0) return;
        // Keys of the next span are fetched meanwhile, for all rows but once.
        const uint16_t* next = static_cast<const uint16_t*>(unit_.k) + (walk_.first() + kSpan) * call_.k_stride;
        fetched_ = walk_.followed() && row == 0 ? next : nullptr;
        fetched_stride_ = call_.k_stride;
        if (!walk_.full()) return add_some<kR>(row, v, v_stride);
        for (int r = 0; r < kR; r += 2) {
            add<kR, (kR > 1 ? 2 : 1)>(row, r, v, v_stride);
        }
    }

    // The processor's own prefetching stops at each page, and whenever there is more to compute than to read.
    [[gnu::always_inline]] static inline void fetch(const uint16_t* row) {
        LB_UNROLL
        for (int line = 0; line < 4; ++line) __builtin_prefetch(reinterpret_cast<const char*>(row) + line * 64);
    }

    // q.k of some rows and all keys; queries stay in registers.
    template <int kR, int kChunks>
    [[gnu::noinline]] void score(int row, const uint16_t* k, int64_t stride) {
        Float q[kR][kChunks];
        for (int r = 0; r < kR; ++r) {
            for (int d = 0; d < kChunks; ++d) q[r][d] = load_words(q_ + (row + r) * width_ / 2 + d * kLanes);
        }
        const uint16_t* fetched = fetched_;
        const Ahead keys_ahead(k, 2 * stride), fetched_ahead(fetched ? fetched : k, 2 * fetched_stride_);
        for (int j = 0; j < kSpan; j += 2) {
            if (fetched) {
                keys_ahead.touch(j);
                fetched_ahead.touch(j);
                fetch(fetched + fetched_at(j) * fetched_stride_);
                fetch(fetched + fetched_at(j + 1) * fetched_stride_);
            }
            Float sum[kMicro];
            LB_UNROLL
            for (int i = 0; i < kMicro; ++i) sum[i] = same(0.0f);
            LB_UNROLL
            for (int i = 0; i < 2; ++i) {
                const int at = j + i < walk_.count() ? j + i : walk_.count() - 1;  // one that is not there is hidden later
                const int32_t* key = reinterpret_cast<const int32_t*>(k + at * stride);
                LB_UNROLL
                for (int d = 0; d < kChunks; ++d) {
                    const Float x = load_words(key + d * kLanes);
                    LB_UNROLL
                    for (int r = 0; r < kR; ++r) sum[2 * r + i] = multiply_add<Unit::pair>(x, q[r][d], sum[2 * r + i]);
                }
            }
            put<kR>(sum, j);
        }
    }

    template <int kR>
    [[gnu::noinline]] void score_any(int row, const uint16_t* k, int64_t stride) {
        for (int j = 0; j < kSpan; j += 2) {
            Float sum[kMicro];
            LB_UNROLL
            for (int i = 0; i < kMicro; ++i) sum[i] = same(0.0f);
            for (int i = 0; i < 2; ++i) {
                const int at = j + i < walk_.count() ? j + i : walk_.count() - 1;
                const int32_t* key = reinterpret_cast<const int32_t*>(k + at * stride);
                for (int64_t d = 0; d < width_ / 2; d += kLanes) {
                    for (int r = 0; r < kR; ++r) {
                        const Float q = load_words(q_ + (row + r) * width_ / 2 + d);
                        sum[2 * r + i] = multiply_add<Unit::pair>(load_words(key + d), q, sum[2 * r + i]);
                    }
                }
            }
            put<kR>(sum, j);
        }
    }

    template <int kR>
    [[gnu::always_inline]] inline void put(const Float (&sum)[kMicro], int j) {
        float sums[kMicro];
        lane_sums(sum, sums);
        memcpy(levels_ + j * kR, sums, 2 * kR * 4);
    }

    // From products to weights, and what the rows have summed up to their new levels.
    template <int kR>
    [[gnu::noinline]] void weigh(int row) {
        // Lane by lane: which key of the vector's, and of which row.
        constexpr int kKeys = kLanes / kR;  // keys a vector
        float key[kLanes], bits[kLanes], rest[kLanes], level[kLanes];
        const bool plain = !levels_of_.softcap && !levels_of_.alibi;
        for (int lane = 0; lane < kLanes && !plain; ++lane) {
            const int r = lane / 2 % kR;
            const Slope slope = slope_of(unit_, row + r);
            key[lane] = static_cast<float>(lane / (2 * kR) * 2 + lane % 2 + unit_.first - slope.from);
            bits[lane] = slope.bits;
            rest[lane] = slope.rest;
        }
        for (int lane = 0; lane < kLanes; ++lane) level[lane] = unit_.level[row + lane / 2 % kR];
        Float top = load(level);
        for (int at = 0, first = 0; at < kR * kSpan; at += kLanes, first += kKeys) {
            Float x = load(levels_ + at);
            if (!plain) {
                const Float apart = lookbehind::LOOKBEHIND_SET::add(load(key), same(static_cast<float>(walk_.first() + first - unit_.first)));
                x = levels_of_.of(x, load(bits), load(rest), apart);
            }
            if (!walk_.full()) x = choose(lanes(seen<kR>(row, first)), x, same(-kInfinity));
            if (!plain || !walk_.full()) store(levels_ + at, x);
            top = max(x, top);
        }
        if (walk_.count() < kSpan && walk_.full()) top = hide_end<kR>(level);
        float most[kLanes];
        store(most, min(top, same(kHuge)));
        for (int r = 0; r < kR; ++r) {
            float highest = unit_.level[row + r];
            for (int lane = 2 * r; lane < kLanes; lane += 2 * kR) {
                for (int i = 0; i < 2; ++i) highest = most[lane + i] > highest ? most[lane + i] : highest;
            }
            raise(unit_, levels_of_, row + r, highest);
            for (int lane = 2 * r; lane < kLanes; lane += 2 * kR) level[lane] = level[lane + 1] = highest;
        }
        const Float base = load(level), unit = same(levels_of_.unit);
        const bool whole = walk_.full() && walk_.count() == kSpan;
        for (int at = 0, first = 0; at < kR * kSpan; at += kLanes, first += kKeys) {
            Float weight = exp2<5>(mul(sub(load(levels_ + at), base), unit));
            if (!whole) weight = keep(lanes(seen<kR>(row, first)), weight);  // where the scale is 0, it is 1
            store(weights_ + at, weight);
            narrow_bfloat16(reinterpret_cast<uint16_t*>(words_) + at, weight);
        }
        add_up<kR>(row);
    }

    // Keys that do not exist, where all that do are seen; returns the largest levels, lane by lane.
    template <int kR>
    Float hide_end(const float* level) {
        for (int j = walk_.count(); j < kSpan; ++j) {
            for (int r = 0; r < kR; ++r) levels_[j / 2 * 2 * kR + 2 * r + j % 2] = -kInfinity;
        }
        Float top = load(level);
        for (int at = 0; at < kR * kSpan; at += kLanes) top = max(load(levels_ + at), top);
        return top;
    }

    // A word of which lanes see their key, of the vector that begins with key `first` of the span.
    template <int kR>
    uint32_t seen(int row, int first) const {
        uint32_t word = 0;
        for (int lane = 0; lane < kLanes; ++lane) {
            const int key = first + lane / (2 * kR) * 2 + lane % 2;
            word |= static_cast<uint32_t>(walk_.seen((row + lane / 2 % kR) / call_.group) >> key & 1) << lane;
        }
        return word;
    }

    // Sums of weights: of every fourth key, then of those four, however many rows there are at once.
    template <int kR>
    void add_up(int row) {
        float sums[kRows][4] = {};
        if constexpr (kR == 4 && kLanes == 16) {
            Float sum = load(weights_);
            for (int at = kLanes; at < kR * kSpan; at += kLanes) sum = lookbehind::LOOKBEHIND_SET::add(sum, load(weights_ + at));
            float some[kLanes];
            store(some, sum);
            for (int lane = 0; lane < kLanes; ++lane) sums[lane / 2 % kR][lane / 8 * 2 + lane % 2] = some[lane];
        } else {
            for (int j = 0; j < kSpan; ++j) {
                for (int r = 0; r < kR; ++r) sums[r][j % 4] += weights_[j / 2 * 2 * kR + 2 * r + j % 2];
            }
        }
        for (int r = 0; r < kR; ++r) unit_.sum[row + r] += (sums[r][0] + sums[r][1]) + (sums[r][2] + sums[r][3]);
    }

    // Weights times values, for two rows of kR (or one); a whole span, or what exists of it.
    template <int kR, int kTogether>
    void add(int row, int r, const uint16_t* v, int64_t stride) {
        int64_t c = 0;
        for (; c + 4 * kColumns <= values_; c += 4 * kColumns) {
            const uint16_t* next = c == 0 ? fetched_ : nullptr;
            if (next) add_block<kR, kTogether, 4, true>(row, r, c, v, stride, next);
            else add_block<kR, kTogether, 4, false>(row, r, c, v, stride, nullptr);
        }
        for (; c < values_; c += kColumns) add_block<kR, kTogether, 1, false>(row, r, c, v, stride, nullptr);
    }

    template <int kR, int kTogether, int kChunks, bool kFetches>
    [[gnu::noinline]] void add_block(int row, int r, int64_t column, const uint16_t* v, int64_t stride, const uint16_t* next) {
        Float sum[kTogether][2 * kChunks];
        float* const to = sums_ + (row + r) * values_ + column;
        LB_UNROLL
        for (int i = 0; i < kTogether; ++i) {
            LB_UNROLL
            for (int c = 0; c < 2 * kChunks; ++c) sum[i][c] = load(to + i * values_ + c * kLanes);
        }
        const int32_t* weights = words_ + r;
        const int64_t next_stride = fetched_stride_;
        const int count = walk_.count();
        v += column;
        for (int j = 0; j < count; j += 2, v += 2 * stride, weights += kR) {
            if constexpr (kFetches) {
                // All of a key before any of the next: with half of each beside the first rows and half beside the
                // others, memory gave half as much.
                if constexpr (kR < 4) {
                    fetch(next + fetched_at(j) * next_stride);
                    fetch(next + fetched_at(j + 1) * next_stride);
                } else {
                    fetch(next + fetched_at(r / 2 * (kSpan / 2) + j / 2) * next_stride);
                }
            }
            const uint16_t* const odd = j + 1 < count ? v + stride : zeros_;
            add_pair<kTogether, kChunks>(v, odd, weights, sum);
        }
        LB_UNROLL
        for (int i = 0; i < kTogether; ++i) {
            LB_UNROLL
            for (int c = 0; c < 2 * kChunks; ++c) store(to + i * values_ + c * kLanes, sum[i][c]);
        }
    }

    template <int kTogether, int kChunks>
    [[gnu::always_inline]] static inline void add_pair(const uint16_t* even, const uint16_t* odd, const int32_t* weights,
                            Float (&sum)[kTogether][2 * kChunks]) {
        Float weight[kTogether];
        LB_UNROLL
        for (int i = 0; i < kTogether; ++i) weight[i] = broadcast(weights + i);
        LB_UNROLL
        for (int c = 0; c < kChunks; ++c) {
            const Int a = bits(load_words(reinterpret_cast<const int32_t*>(even + c * kColumns)));
            const Int b = bits(load_words(reinterpret_cast<const int32_t*>(odd + c * kColumns)));
            const Float low = bits(interleave_low(a, b)), high = bits(interleave_high(a, b));
            LB_UNROLL
            for (int i = 0; i < kTogether; ++i) {
                sum[i][2 * c] = multiply_add<Unit::pair>(low, weight[i], sum[i][2 * c]);
                sum[i][2 * c + 1] = multiply_add<Unit::pair>(high, weight[i], sum[i][2 * c + 1]);
            }
        }
    }

    // Where some query does not see some key: its value may be NaN, which a weight of 0 does not hide, so zeros take
    // its place. Otherwise the same sums, bit for bit.
    template <int kR>
    void add_some(int row, const uint16_t* v, int64_t stride) {
        for (int r = 0; r < kR; ++r) {
            const uint64_t sees = walk_.seen((row + r) / call_.group);
            for (int64_t c = 0; c < values_; c += kColumns) {
                Float sum[1][2] = {{load(sums_ + (row + r) * values_ + c), load(sums_ + (row + r) * values_ + c + kLanes)}};
                for (int j = 0; j < walk_.count(); j += 2) {
                    const uint16_t* even = sees >> j & 1 ? v + j * stride + c : zeros_;
                    const uint16_t* odd = sees >> (j + 1) & 1 ? v + (j + 1) * stride + c : zeros_;
                    add_pair<1, 1>(even, odd, words_ + j / 2 * kR + r, sum);
                }
                store(sums_ + (row + r) * values_ + c, sum[0][0]);
                store(sums_ + (row + r) * values_ + c + kLanes, sum[0][1]);
            }
        }
    }

    const DecodeUnit& unit_;
    const DecodeCall& call_;
    const int rows_;
    const int64_t width_, values_;  // padded
    int32_t* const q_;              // [rows][width / 2]
    float* const sums_;             // [rows][values], in the order of `placed`
    float *const levels_, *const weights_;  // [kSpan / 2][rows at once][2]
    int32_t* const words_;                  // [kSpan / 2][rows at once]: the weights of two keys
    uint16_t *const copied_keys_, *const copied_values_, *const zeros_;
    SpanWalk<kSpan> walk_;
    const Levels levels_of_;
    const uint16_t* fetched_ = nullptr;  // what the step at hand fetches for the one after it
    int64_t fetched_stride_ = 0;
};

}  // namespace lookbehind::LOOKBEHIND_SET
