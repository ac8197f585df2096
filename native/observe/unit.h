// A unit of observe: some tiles of queries of one head, and where their reductions go. Plain structs.
#pragma once

#include <cstdint>

#include "../kernels.h"
#include "../plan.h"

namespace lookbehind {

// What is wanted, and what all units of a call share.
struct ObserveCall {
    Scoring scoring;
    const Plan* plan = nullptr;
    const int64_t* row_ptr = nullptr;  // of the spans: which rows are empty, and how many keys each has
    const int64_t* starts = nullptr;
    const int64_t* stops = nullptr;
    int64_t n_queries = 0, n_keys = 0, offset = 0;

    bool received = false, entropy = false, max_score = false, distance = false;
    int64_t top = 0;
    int64_t n_distances = 0;  // 0: not wanted

    int64_t n_masses = 0;
    const Plan* const* mass_plans = nullptr;  // [n_masses], made for tiles as `plan` is

    bool map_sum = false, map_max = false, map_of_scores = false;  // map_sum: for sums, means or both
    int64_t map_rows = 0, map_columns = 0;
    const float* counts = nullptr;  // [map_rows, map_columns]: products of each pixel
};

// Where the pixels of an axis begin: pixel p covers places edge(p) to edge(p + 1) - 1.
inline int64_t pixel_edge(int64_t pixel, int64_t length, int64_t pixels) { return pixel * length / pixels; }

// The pixel that a place falls into.
inline int64_t pixel_of(int64_t place, int64_t length, int64_t pixels) {
    return ((place + 1) * pixels - 1) / length;
}

// Sums over queries are kept by unit and added up in the order of units, so that they are the same bits for any
// number of threads. Arrays of other results are those of the head, written row by row.
struct ObserveUnit {
    const ObserveCall* call = nullptr;
    const int32_t* keys = nullptr;  // of the head, turned: see tile.h; by the matrix unit read as they are
    int64_t key_stride = 0;         // words from key to key, for that
    const uint8_t* odd_keys = nullptr;  // as Head's
    const void* q = nullptr;  // row 0 of the head
    int64_t q_stride = 0, width = 0;
    double slope = 0;
    const float* lse = nullptr;  // [n_queries]
    int64_t first = 0, stop = 0;  // tiles of queries

    float* entropy = nullptr;      // [n_queries]
    float* distance = nullptr;     // [n_queries]
    float* top_weights = nullptr;  // [n_queries, top]
    int64_t* top_keys = nullptr;   // [n_queries, top]
    float* const* masses = nullptr;  // [n_masses] of [all heads, n_queries]
    int64_t mass_row = 0;            // where this head's row 0 is in them

    // The unit's own; cleared by it.
    float* received = nullptr;     // [n_keys, rounded up to kKeys]
    float* by_distance = nullptr;  // [n_distances + kSpare]
    float* max_score = nullptr;    // [1]

    // Maps of the head, [map_rows, map_columns]. Sums are gathered in map_sum, which is where means go if sums are
    // not asked for. A row of pixels that is shared with another unit (the unit's first, its last) is gathered in
    // the unit's own edge rows, [2, map_columns], and finished by who puts them together.
    float *map_sum = nullptr, *map_mean = nullptr, *map_max = nullptr;
    float *edge_sum = nullptr, *edge_max = nullptr;
};

constexpr int64_t kSpare = 64;  // floats behind by_distance that vectors may add 0 to

// Queries of a unit, and its first and last row of pixels with whether other units have queries in them.
struct PixelRows {
    int64_t first, last;
    bool first_shared, last_shared;
};

inline PixelRows pixel_rows(const ObserveCall& call, int64_t first_query, int64_t stop_query) {
    const int64_t n = call.n_queries, rows = call.map_rows;
    PixelRows found;
    found.first = pixel_of(first_query, n, rows);
    found.last = pixel_of(stop_query - 1, n, rows);
    found.first_shared = pixel_edge(found.first, n, rows) < first_query || pixel_edge(found.first + 1, n, rows) > stop_query;
    found.last_shared = pixel_edge(found.last, n, rows) < first_query || pixel_edge(found.last + 1, n, rows) > stop_query;
    return found;
}

}  // namespace lookbehind
