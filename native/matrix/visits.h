// Which groups of keys the tiles of a unit visit, block after block.
#pragma once

#include "../walk.h"
#include "mill.h"

namespace lookbehind::LOOKBEHIND_SET {

// A block is the keys whose weights wait for their values together, so many groups at absolute places.
constexpr int kMostGroups = 4;
static_assert(kOddKeys % (kMostGroups * kGroup) == 0);

// Keys [key, key + kGroup), and which of their micro-tiles are visited.
struct Group {
    int64_t key;
    bool whole;  // all of them are, and all lanes see all keys: nothing else is set then
    bool visited[kMicros];
    const uint32_t* masks[kMicros];  // null: all lanes see all keys
    int64_t step[kMicros];           // in masks, from key to key
};

// The groups of one block that one tile visits.
struct BlockVisit {
    State* state = nullptr;
    int n = 0;
    Group groups[kMostGroups];
    int8_t places[kMostGroups];  // of the groups, within the block
    int32_t* p = nullptr;    // [n][parts][kSide pairs][kTile] weights
    int settled = 0;         // groups whose weights have met their values
    bool first = false;      // of the tile: there is no output to add to
    int64_t block = 0;
};

// Visits in an order that shares keys: each tile visits the blocks of one region, then the next tile does. So keys and values
// come from the second cache, but for the first tile, and a tile's queries and outputs from the first.
class BlockVisits {
public:
    BlockVisits(State* states, int n, int64_t groups, int64_t region)
        : states_(states), n_(n), block_(groups * kGroup), region_(region), at_(n) {}

    bool next(BlockVisit& visit) {
        for (;;) {
            for (; at_ < n_; ++at_) {
                const int64_t block = next_block(states_[at_]);
                if (block >= stop_) continue;
                gather(states_[at_], block, visit);
                return true;
            }
            int64_t first = kNoBlock;
            for (int t = 0; t < n_; ++t) {
                const int64_t block = next_block(states_[t]);
                if (block < first) first = block;
            }
            if (first == kNoBlock) return false;
            stop_ = (first / region_ + 1) * region_;
            at_ = 0;
        }
    }

private:
    int64_t next_block(const State& state) const {
        const Rows& rows = *state.tile->rows;
        if (state.run == rows.n_runs) return kNoBlock;
        const int64_t first = rows.runs[state.run].first;
        return (state.key > first ? state.key : first) / block_;
    }

    void gather(State& state, int64_t block, BlockVisit& visit) const {
        const Rows& rows = *state.tile->rows;
        const int64_t end = (block + 1) * block_;
        visit.state = &state;
        visit.block = block;
        visit.first = state.run == 0 && state.key <= rows.runs[0].first;
        visit.n = visit.settled = 0;
        while (state.run < rows.n_runs && rows.runs[state.run].first < end) {
            const Run& run = rows.runs[state.run];
            const int64_t stop = run.stop < end ? run.stop : end;
            int64_t key = state.key > run.first ? state.key : run.first;
            while (key < stop) {
                const int64_t first = key / kGroup * kGroup;
                if (visit.n == 0 || visit.groups[visit.n - 1].key != first) {
                    visit.places[visit.n] = static_cast<int8_t>((first - block * block_) / kGroup);
                    Group& begun = visit.groups[visit.n++];
                    begun.key = first;
                    begun.whole = run.masks == nullptr && key == first && first + kGroup <= stop;
                    if (begun.whole) {
                        key += kGroup;
                        continue;
                    }
                    for (bool& visited : begun.visited) visited = false;
                }
                Group& group = visit.groups[visit.n - 1];
                const int64_t m = (key - first) / kMicro;
                group.visited[m] = true;
                group.masks[m] = run.masks ? run.masks + (key - run.first) * run.step : nullptr;
                group.step[m] = run.step;
                key += kMicro;
            }
            state.key = key;
            if (key < run.stop) break;
            ++state.run;
        }
    }

    State* const states_;
    const int n_;
    const int64_t block_;   // keys
    const int64_t region_;  // blocks
    int at_;
    int64_t stop_ = 0;      // of the region, a block
};

}  // namespace lookbehind::LOOKBEHIND_SET
