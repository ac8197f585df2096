// attend and logsumexp: tiles of queries to an instruction set's kernel, the longest of each head first.
#include <algorithm>

#include "check.h"
#include "decode.h"
#include "exact.h"
#include "heads.h"
#include "slots.h"

namespace lookbehind {

namespace {

// One call, and what its units share.
class Call {
public:
    Call(const Problem& problem, const Output& out, float* lse, const Options& options)
        : problem_(problem), out_(out), lse_(lse), options_(options), set_(kernels(options.set)),
          scoring_(scoring_of(problem, set_, out.data != nullptr)), plan_(problem.spans, set_.tile),
          heads_(problem, set_, scoring_, out.data != nullptr), group_(problem.q.heads / problem.k.heads),
          together_(tiles_together()), units_a_head_((plan_.n_tiles() * group_ + together_ - 1) / together_) {}

    void run() {
        if (units_a_head_ == 0) return;
        Slots slots(heads_.count(), heads_.bytes(), heads_.parts(), units_a_head_, options_);
        heads_.hold(slots.count());
        scratch_bytes_ = static_cast<int64_t>(set_.attend_scratch(scoring_, together_) + 63) / 64 * 64;
        scratch_ = Memory(static_cast<size_t>(scratch_bytes_ * slots.threads()));
        slots.run([this](int64_t kv, int64_t slot, int64_t part) { heads_.pack(kv, slot, part); },
                  [this](int64_t kv, int64_t slot, int64_t unit, int thread) { attend(kv, slot, unit, thread); },
                  [](int64_t, int64_t) {});
    }

private:
    // How many tiles read each block of keys together, heads of a group or neighbours: keys and values then come
    // from memory, or from the cache that cores share, that much less often. Fewer where threads would go idle,
    // or where their queries and outputs would fill a core's own cache.
    int tiles_together() const {
        constexpr size_t kCache = size_t{384} << 10;
        const int64_t tiles = plan_.n_tiles() * group_ * Slots::most(heads_.count(), heads_.bytes());
        int together = kMostTiles;
        while (together > 1 && (tiles < int64_t{8} * options_.threads * together ||
                                set_.attend_scratch(scoring_, together) > kCache)) {
            together /= 2;
        }
        return together;
    }

    void attend(int64_t kv, int64_t slot, int64_t unit, int thread) {
        const int64_t begin = unit * together_;
        const int64_t end = std::min(begin + together_, plan_.n_tiles() * group_);
        QueryTile tiles[kMostTiles];
        uint32_t far[kMostTiles];
        const int64_t b = kv / problem_.k.heads;
        const auto head = [&](int64_t i) { return kv % problem_.k.heads * group_ + i % group_; };
        for (int64_t i = begin; i < end; ++i) {
            tiles[i - begin] = query_tile(b, head(i), plan_.longest(i / group_));
            tiles[i - begin].far = &far[i - begin];
        }
        set_.attend(scoring_, heads_.head(kv, slot), tiles, static_cast<int>(end - begin),
                    scratch_.as<char>() + thread * scratch_bytes_);
        for (int64_t i = begin; i < end; ++i) {
            const int64_t first = plan_.longest(i / group_) * set_.tile;
            for (int row = 0; row < tiles[i - begin].live; ++row) {
                if (far[i - begin] >> row & 1) attend_exactly(problem_, set_, b, head(i), first + row, out_, lse_);
            }
        }
    }

    QueryTile query_tile(int64_t b, int64_t head, int64_t index) const {
        const Tensor& q = problem_.q;
        const int64_t row = index * set_.tile;
        QueryTile tile;
        tile.q = start(q, problem_.type, b, head, row);
        tile.q_stride = q.row_stride;
        tile.width = q.columns;
        tile.live = static_cast<int>(std::min<int64_t>(set_.tile, q.rows - row));
        tile.rows = &plan_.rows(index);
        tile.row_ptr = problem_.spans.row_ptr + row;
        tile.position = problem_.spans.offset + row;
        if (problem_.sinks) tile.sink = problem_.sinks[head];
        if (problem_.alibi) tile.slope = problem_.alibi[head];
        if (out_.data) {
            tile.out = start(out_, problem_.type, b, head, row);
            tile.out_stride = out_.row_stride;
        }
        if (lse_) tile.lse = lse_ + (b * q.heads + head) * q.rows + row;
        return tile;
    }

    const Problem& problem_;
    const Output& out_;
    float* const lse_;
    const Options& options_;
    const Kernels& set_;
    const Scoring scoring_;
    const Plan plan_;
    Heads heads_;
    const int64_t group_;
    const int together_;
    const int64_t units_a_head_;
    int64_t scratch_bytes_ = 0;
    Memory scratch_;
};

}  // namespace

void attend(const Problem& problem, const Output& out, float* lse, const Options& options) {
    check_attend(problem, out, options);
    if (decode(problem, out, lse, options)) return;
    Call(problem, out, lse, options).run();
}

void logsumexp(const Problem& problem, float* lse, const Options& options) {
    check_logsumexp(problem, lse, options);
    const Output none;
    if (decode(problem, none, lse, options)) return;
    Call(problem, none, lse, options).run();
}

}  // namespace lookbehind
