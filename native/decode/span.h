// The walk of decode over the keys that its queries visit, a span at a time.
#pragma once

#include "../tile.h"
#include "unit.h"

namespace lookbehind::LOOKBEHIND_SET {

constexpr int kSpan = 64;  // keys whose weights the vectors find before they meet their values

// The i-th row of a span to be fetched: by turns from each quarter of it. A core reads several pages side by side half
// as fast again as one after another, for what it fetches by itself it fetches page by page.
constexpr int fetched_at(int i) { return i % 4 * (kSpan / 4) + i / 4; }

// Spans lie at absolute places, whatever the runs are: which sums a query's weights are added up in must not depend
// on what other queries see.
template <int kKeys>
class SpanWalk {
public:
    explicit SpanWalk(const DecodeUnit& unit) : call_(*unit.call), key_(unit.first), stop_(unit.stop) {}

    // To the next span with a visible key.
    bool next() {
        const Rows& visits = *call_.visits;
        while (run_ < visits.n_runs && visits.runs[run_].stop <= key_) ++run_;
        if (run_ == visits.n_runs) return false;
        if (visits.runs[run_].first > key_) key_ = visits.runs[run_].first;
        if (key_ >= stop_) return false;
        look(key_ / kKeys * kKeys);
        key_ = first_ + kKeys;
        return true;
    }

    int64_t first() const { return first_; }                          // its first key
    int count() const { return count_; }                              // keys that exist
    bool full() const { return full_; }                               // whether every query sees each of those
    uint64_t seen(int query) const { return seen_[query][0]; }        // bit j: key first + j, of a span of kWord
    bool seen(int query, int j) const { return seen_[query][j / kWord] >> j % kWord & 1; }
    bool followed() const { return first_ + 2 * kKeys <= stop_; }     // by a whole span of this unit

private:
    static constexpr int kWord = 64;

    void look(int64_t first) {
        const Rows& visits = *call_.visits;
        const int64_t left = call_.n_keys - first;
        first_ = first;
        count_ = static_cast<int>(left < kKeys ? left : kKeys);
        const Run& run = visits.runs[run_];
        full_ = run.masks == nullptr && run.first <= first && run.stop >= first + count_;
        memset(seen_, 0, sizeof seen_[0] * static_cast<size_t>(call_.n_queries));
        for (int j = 0; full_ && j < count_; j += kWord) {
            const uint64_t all = ~uint64_t{0} >> (count_ - j < kWord ? kWord - (count_ - j) : 0);
            for (int query = 0; query < call_.n_queries; ++query) seen_[query][j / kWord] = all;
        }
        for (int64_t i = run_; !full_ && i < visits.n_runs && visits.runs[i].first < first + count_; ++i) look_at(visits.runs[i]);
    }

    void look_at(const Run& run) {
        for (int j = 0; j < count_; ++j) {
            if (first_ + j < run.first || first_ + j >= run.stop) continue;
            const uint32_t word = run.masks ? run.masks[(first_ + j - run.first) * run.step] : ~0u;
            for (int query = 0; query < call_.n_queries; ++query) seen_[query][j / kWord] |= uint64_t{word >> query & 1u} << j % kWord;
        }
    }

    const DecodeCall& call_;
    int64_t key_, stop_, run_ = 0, first_ = 0;
    int count_ = 0;
    bool full_ = false;
    uint64_t seen_[kMostDecoded][(kKeys + kWord - 1) / kWord];
};

// Asks for pages a stretch ahead of the rows that are read: where the tables of pages have left the caches, finding
// a page takes as long as reading it.
class Ahead {
public:
    Ahead(const void* rows, int64_t bytes) : rows_(static_cast<const char*>(rows) + kDecodeKeys * bytes), bytes_(bytes) {
        while (rows_a_page_ * 2 * bytes <= kPage && rows_a_page_ < kSpan) rows_a_page_ *= 2;
    }

    // Called for every second row, at least; j is even.
    [[gnu::always_inline]] inline void touch(int j) const {
        if ((j & (rows_a_page_ - 1)) == 0) __builtin_prefetch(rows_ + j * bytes_);
    }

private:
    static constexpr int64_t kPage = 4096;
    const char* rows_;
    int64_t bytes_;
    int rows_a_page_ = 1;
};

// From a product q.k to a level, and from levels to bits: what scoring.h is to tiles. Levels are in bits where there
// is a bias, else they are still to be scaled, so that equal scores are exactly 0 bits apart, however large.
struct Levels {
    explicit Levels(const Scoring& scoring) : softcap(scoring.softcap > 0), alibi(scoring.alibi) {
        const double log2e = 1.4426950408889634073, scale = static_cast<double>(scoring.scale);
        bits = static_cast<float>((softcap ? static_cast<double>(scoring.softcap) : scale) * log2e);
        into = softcap ? static_cast<float>(scale / static_cast<double>(scoring.softcap)) : 0;
        unit = alibi ? 1.0f : bits;
    }

    // apart: key minus the one that its bias counts from; slope, rest: bits per position, as the sum of two floats.
    [[gnu::always_inline]] inline Float of(Float product, Float slope, Float rest, Float apart) const {
        if (softcap) product = tanh(mul(product, same(into)));
        if (!alibi) return product;
        return fma(product, same(bits), fma(slope, apart, mul(rest, apart)));
    }

    // What weights against one level are, against a higher one.
    float factor(float level, float higher) const {
        float factors[kLanes];
        store(factors, exp2<5>(mul(sub(same(level), same(higher)), same(unit))));
        return factors[0];
    }

    bool softcap, alibi;
    float bits, into;
    float unit;  // bits of a level
};

// What the rows of a unit have come to before any key.
LB_INLINE void begin(const DecodeUnit& unit) {
    const int rows = unit.call->rows();
    for (int r = 0; r < rows; ++r) {
        unit.level[r] = -kHuge;
        unit.sum[r] = 0;
    }
    memset(unit.values, 0, static_cast<size_t>(rows * value_stride(unit.call->value_width)) * 4);
}

// Where a row has seen a higher level: what it has come to, relative to that.
static void raise(const DecodeUnit& unit, const Levels& levels, int row, float level) {
    if (level == unit.level[row]) return;
    const float factor = levels.factor(unit.level[row], level);
    unit.level[row] = level;
    unit.sum[row] *= factor;
    const int64_t stride = value_stride(unit.call->value_width);
    float* const sums = unit.values + row * stride;
    for (int64_t c = 0; c < stride; c += kLanes) store(sums + c, mul(load(sums + c), same(factor)));
}

struct Slope {
    float bits = 0, rest = 0;
    int64_t from = 0;  // see biased_from
};

// Of the head of a row.
LB_INLINE Slope slope_of(const DecodeUnit& unit, int row) {
    Slope slope;
    if (unit.slopes == nullptr) return slope;
    const double bits = static_cast<double>(unit.slopes[row % unit.call->group]) * 1.4426950408889634073;
    slope.bits = static_cast<float>(bits);
    slope.rest = static_cast<float>(bits - static_cast<double>(slope.bits));
    slope.from = biased_from(slope.bits, unit.first_seen, unit.last_seen);
    return slope;
}

}  // namespace lookbehind::LOOKBEHIND_SET
