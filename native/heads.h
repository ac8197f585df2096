// The keys and values of kv heads as the kernels read them: in place where that can be, else packed once.
#pragma once

#include <vector>

#include "kernels.h"
#include "runtime.h"

namespace lookbehind {

// What holds for all products of a call; values: whether v is read.
Scoring scoring_of(const Problem& problem, const Kernels& set, bool values);

// kv heads of all batches, each packed into a slot of memory while it is read.
class Heads {
public:
    static constexpr int64_t kPart = 1024;  // keys that are packed at once, some 10 microseconds; a multiple of kOddKeys

    Heads(const Problem& problem, const Kernels& set, const Scoring& scoring, bool values);

    int64_t count() const { return problem_.k.batch * problem_.k.heads; }
    int64_t bytes() const { return bytes_; }                  // of a slot
    int64_t parts() const { return bytes_ ? parts_ : 0; }     // that a head is packed in
    void hold(int64_t slots) { memory_ = Memory(static_cast<size_t>(bytes_ * slots)); }

    // Where kv head `index` is, or will be.
    Head head(int64_t index, int64_t slot) const;
    void pack(int64_t index, int64_t slot, int64_t part) const;

private:
    const Problem& problem_;
    const Kernels& set_;
    const Scoring& scoring_;
    const bool values_;
    bool copies_keys_ = false, copies_values_ = false;
    int64_t padded_ = 0, value_rows_ = 0, flags_ = 0, bytes_ = 0, parts_ = 0;
    Memory memory_;
};

// Element [batch, head, row, 0].
inline const void* start(const Tensor& x, Type type, int64_t batch, int64_t head, int64_t row) {
    const int64_t element = batch * x.batch_stride + head * x.head_stride + row * x.row_stride;
    return static_cast<const char*>(x.data) + element * (type == Type::float32 ? 4 : 2);
}

// The same of the output.
inline void* start(const Output& out, Type type, int64_t batch, int64_t head, int64_t row) {
    const int64_t element = batch * out.batch_stride + head * out.head_stride + row * out.row_stride;
    return static_cast<char*>(out.data) + element * (type == Type::float32 ? 4 : 2);
}

}  // namespace lookbehind
