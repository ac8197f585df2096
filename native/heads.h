// The keys and values of kv heads as the kernels read them: in place where that can be, else packed once.
#pragma once

#include <vector>

#include "kernels.h"
#include "runtime.h"

namespace lookbehind {

// What holds for all products of a call; values: whether v is read.
Scoring scoring_of(const Problem& problem, const Kernels& set, bool values);

// As many heads at once as fit a few megabytes, at least one: memory stays O(keys) whatever the head count,
// and what was packed is still in cache when it is read.
class Heads {
public:
    Heads(const Problem& problem, const Kernels& set, const Scoring& scoring, bool values, const Options& options);

    // kv heads of all batches, and how many of them are held at once.
    int64_t count() const { return problem_.k.batch * problem_.k.heads; }
    int64_t at_once() const { return static_cast<int64_t>(heads_.size()); }

    // Makes heads first, first + 1, ... ready, at most at_once() of them; those before are gone.
    void pack(int64_t first);

    // kv head `index` of those that are ready.
    const Head& head(int64_t index) const { return heads_[static_cast<size_t>(index - first_)]; }

private:
    void place(int64_t index, char* memory);
    void pack_part(int64_t unit) const;

    const Problem& problem_;
    const Kernels& set_;
    const Scoring& scoring_;
    const Options& options_;
    const bool values_;
    bool copies_keys_ = false, copies_values_ = false;
    int64_t padded_ = 0, value_rows_ = 0, flags_ = 0, bytes_ = 0, first_ = 0, parts_ = 0;
    std::vector<Head> heads_;
    Memory memory_;
};

// Element [batch, head, row, 0].
inline const void* start(const Tensor& x, Type type, int64_t batch, int64_t head, int64_t row) {
    const int64_t element = batch * x.batch_stride + head * x.head_stride + row * x.row_stride;
    return static_cast<const char*>(x.data) + element * (type == Type::float32 ? 4 : 2);
}

}  // namespace lookbehind
