// A unit of decode: the queries of a few rows, of all heads that share a kv head, over a stretch of its keys.
#pragma once

#include "../kernels.h"
#include "../plan.h"

namespace lookbehind {

constexpr int kMostDecoded = 8;        // queries a head; with more of them tiles of queries are as fast
constexpr int64_t kDecodeKeys = 1024;  // of a unit, at absolute places: results do not depend on the threads

// What all units of a call share. A row is one query of one head: row r is query r / group of head r % group.
struct DecodeCall {
    Scoring scoring;
    int n_queries = 0, group = 0;
    int64_t n_keys = 0, offset = 0;
    int64_t width = 0, value_width = 0;     // D and Dv; Dv is 0 where lse alone is wanted
    int64_t k_stride = 0, v_stride = 0;     // elements
    int64_t q_stride = 0, q_head_stride = 0;
    const Rows* visits = nullptr;           // bit q of its masks: query q

    int rows() const { return n_queries * group; }
};

// Floats of a row of values: Dv, rounded up.
constexpr int64_t value_stride(int64_t value_width) { return (value_width + 31) / 32 * 32; }

struct DecodeUnit {
    const DecodeCall* call = nullptr;
    const void *q = nullptr, *k = nullptr, *v = nullptr;  // row 0 of the first head of the group; of the kv head
    const float* slopes = nullptr;                        // [group]
    int64_t first = 0, stop = 0;                          // keys
    int64_t first_seen = 0, last_seen = 0;                // of those: by some query
    // What the rows have come to, for it to be joined with other stretches: [rows] each, and [rows, value_stride] in
    // an order of columns of the set's own. A weight is 2^(its score in bits - level in bits). Where there is a bias, levels lack
    // that of key `biased_from`, which is the largest: it may be thousands of times what tells weights apart.
    float *level = nullptr, *sum = nullptr, *values = nullptr;
};

// The key that a bias by position counts from.
inline int64_t biased_from(float slope, int64_t first_seen, int64_t last_seen) { return slope > 0 ? last_seen : first_seen; }

}  // namespace lookbehind
