// Which groups of keys the tiles of a unit visit, block after block.
#pragma once

#include "../walk.h"
#include "mill.h"

namespace lookbehind::LOOKBEHIND_SET {

constexpr int kGroups = kBlock / kGroup;  // of a block

// Keys [key, key + kGroup), and which of their micro-tiles are visited.
struct Group {
    int64_t key;
    bool visited[kMicros];
    const uint32_t* masks[kMicros];  // null: all lanes see all keys
    int64_t step[kMicros];           // in masks, from key to key
};

// The groups of one block that one tile visits.
struct BlockVisit {
    State* state = nullptr;
    int n = 0;
    Group groups[kGroups];
    int8_t places[kGroups];  // of the groups, within the block
    int32_t* p = nullptr;    // [n][parts][kSide pairs][kTile] weights
    int settled = 0;         // groups whose weights have met their values
    int64_t block = 0;
};

// Visits in the order that shares keys: the block that is next for any tile goes to all tiles that visit it.
class BlockVisits {
public:
    BlockVisits(State* states, int n) : states_(states), n_(n), at_(n) {}

    bool next(BlockVisit& visit) {
        for (;;) {
            for (; at_ < n_; ++at_) {
                if (next_[at_] != block_) continue;
                gather(states_[at_++], visit);
                return true;
            }
            block_ = next_blocks(states_, n_, next_);
            if (block_ == kNoBlock) return false;
            at_ = 0;
        }
    }

private:
    void gather(State& state, BlockVisit& visit) const {
        const Rows& rows = *state.tile->rows;
        const int64_t end = (block_ + 1) * kBlock;
        visit.state = &state;
        visit.block = block_;
        visit.n = visit.settled = 0;
        while (state.run < rows.n_runs && rows.runs[state.run].first < end) {
            const Run& run = rows.runs[state.run];
            const int64_t stop = run.stop < end ? run.stop : end;
            int64_t key = state.key > run.first ? state.key : run.first;
            for (; key < stop; key += kMicro) {
                const int64_t first = key / kGroup * kGroup;
                if (visit.n == 0 || visit.groups[visit.n - 1].key != first) {
                    visit.places[visit.n] = static_cast<int8_t>((first - block_ * kBlock) / kGroup);
                    Group& begun = visit.groups[visit.n++];
                    begun.key = first;
                    for (bool& visited : begun.visited) visited = false;
                }
                Group& group = visit.groups[visit.n - 1];
                const int64_t m = (key - first) / kMicro;
                group.visited[m] = true;
                group.masks[m] = run.masks ? run.masks + (key - run.first) * run.step : nullptr;
                group.step[m] = run.step;
            }
            state.key = key;
            if (key < run.stop) break;
            ++state.run;
        }
    }

    State* const states_;
    const int n_;
    int at_;
    int64_t block_ = kNoBlock;
    int64_t next_[kMostTiles];
};

}  // namespace lookbehind::LOOKBEHIND_SET
