// A plan: which keys each tile of queries visits, made once a call and shared by its heads.
//
// Plain types only, for the reason given in runtime.h.
#pragma once

#include <cstdint>

namespace lookbehind {

struct Spans;

constexpr int64_t rounded_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Keys come in micro-tiles of this many, at absolute places: where a query's keys are cut does not depend on
// which other queries it is computed with, nor do the bits of what is summed over them.
constexpr int64_t kKeys = 8;

// Keys [first, stop) that a tile of queries visits; both multiples of kKeys, so that stop may exceed n_keys.
//
// masks null: a full run; every live query sees every key. Otherwise bit l of masks[(key - first) * step] says
// whether query l of the tile sees the key. step is 1, or 0 where one word holds for the whole run: rows that
// differ over long stretches then cost no more memory than their spans. Bits of dead queries (rows from
// n_queries on) and of keys from n_keys on are 0; dead queries do not keep a run from being full.
struct Run {
    int64_t first, stop;
    const uint32_t* masks;
    int64_t step;
};

// What one tile of queries visits: runs ascending, disjoint, without the micro-tiles that nobody sees.
struct Rows {
    const Run* runs;
    int64_t n_runs;
    int64_t products;  // what is computed, hidden products included
};

class Plan {
public:
    // lanes: queries a tile, at most 32. The spans have been checked. O(n_queries + n_intervals) memory, and
    // time but for the logarithm of a sort within tiles.
    Plan(const Spans& spans, int lanes);
    ~Plan();
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;

    int64_t n_tiles() const { return n_tiles_; }
    const Rows& rows(int64_t tile) const { return rows_[tile]; }

    // The tile that is the n-th longest; equally long ones in ascending order.
    int64_t longest(int64_t n) const { return order_[n]; }

    // Products of all tiles.
    int64_t products() const { return products_; }

private:
    struct Tables;
    Tables* tables_;
    const Rows* rows_;
    const int64_t* order_;
    int64_t n_tiles_, products_;
};

}  // namespace lookbehind
