#include "heads.h"

#include <algorithm>
#include <cmath>

namespace lookbehind {

namespace {

constexpr int64_t kNearRows = 1024;  // bytes: rows this far apart at most are read in place; of rows further
                                     // apart, those read together fall on the same few sets of the cache

int64_t size_of(Type type) { return type == Type::float32 ? 4 : 2; }

}  // namespace

Scoring scoring_of(const Problem& problem, const Kernels& set, bool values) {
    Scoring scoring;
    scoring.type = problem.type;
    scoring.matrix = set.matrix;
    scoring.pairs = set.matrix || (set.dot && problem.type == Type::bfloat16);
    scoring.parts = set.matrix && problem.type != Type::bfloat16 ? kThirds : 1;
    scoring.keys = scoring.matrix ? kMatrixSide : kKeys;
    const int64_t width = scoring.matrix ? rounded_up(problem.q.columns, kMatrixSide) : problem.q.columns;
    scoring.depth = static_cast<int>((scoring.pairs ? (width + 1) / 2 : width) * scoring.parts);
    scoring.scale = static_cast<float>(std::abs(problem.scale));
    scoring.negative = problem.scale < 0;
    scoring.softcap = static_cast<float>(problem.softcap);
    scoring.alibi = problem.alibi != nullptr;
    scoring.sinks = problem.sinks != nullptr;
    if (values) {
        scoring.value_columns = static_cast<int>(problem.v.columns);
        scoring.columns = static_cast<int>(rounded_up(problem.v.columns, scoring.matrix ? kMatrixSide : set.columns));
    }
    return scoring;
}

Heads::Heads(const Problem& problem, const Kernels& set, const Scoring& scoring, bool values)
    : problem_(problem), set_(set), scoring_(scoring), values_(values) {
    const Tensor &k = problem.k, &v = problem.v;
    const int64_t element = size_of(problem.type);
    const bool thirds = scoring.parts == kThirds;
    padded_ = rounded_up(k.rows, scoring.keys);
    parts_ = (padded_ + kPart - 1) / kPart;
    value_rows_ = scoring.pairs ? padded_ / 2 : set.panels ? rounded_up(padded_, kPanelKeys) : padded_;
    // In place where every row is whole words and no row has to be made up.
    const bool words = (problem.type == Type::float32 && !scoring.pairs && !set.panels) ||
                       (scoring.pairs && !thirds && k.columns == scoring.depth * 2 && (k.row_stride | k.head_stride | k.batch_stride) % 2 == 0);
    copies_keys_ = !(words && k.rows == padded_ && k.row_stride * element <= kNearRows);
    copies_values_ = values && !(words && !scoring.pairs && k.rows == padded_ && v.columns == scoring.columns &&
                                 v.row_stride * element <= kNearRows);
    flags_ = rounded_up(padded_, kOddKeys) / kOddKeys;
    bytes_ = flags_ * (values + thirds);
    if (copies_keys_) bytes_ += padded_ * scoring.depth * 4;
    if (copies_values_) bytes_ += value_rows_ * scoring.columns * scoring.parts * 4;
    bytes_ = rounded_up(bytes_, 64);
}

Head Heads::head(int64_t index, int64_t slot) const {
    const Tensor &k = problem_.k, &v = problem_.v;
    const int64_t b = index / k.heads, h = index % k.heads;
    char* memory = memory_.as<char>() + slot * bytes_;
    Head head;
    if (copies_keys_) {
        head.k = reinterpret_cast<int32_t*>(memory);
        head.k_stride = scoring_.depth;
        memory += padded_ * head.k_stride * 4;
    } else {
        head.k = static_cast<const int32_t*>(start(k, problem_.type, b, h, 0));
        head.k_stride = scoring_.pairs ? k.row_stride / 2 : k.row_stride;
    }
    if (values_ && copies_values_) {
        head.v = reinterpret_cast<int32_t*>(memory);
        head.v_stride = scoring_.columns * scoring_.parts;
        memory += value_rows_ * head.v_stride * 4;
    } else if (values_) {
        head.v = static_cast<const int32_t*>(start(v, problem_.type, b, h, 0));
        head.v_stride = v.row_stride;
    }
    if (values_) head.odd = reinterpret_cast<uint8_t*>(memory);
    if (scoring_.parts == kThirds) head.odd_keys = reinterpret_cast<uint8_t*>(memory + (values_ ? flags_ : 0));
    return head;
}

void Heads::pack(int64_t index, int64_t slot, int64_t part) const {
    const Tensor &k = problem_.k, &v = problem_.v;
    const int64_t b = index / k.heads, h = index % k.heads, begin = part * kPart;
    const Head packed = head(index, slot);
    Packing p;
    p.type = problem_.type;
    p.pairs = scoring_.pairs;
    p.parts = scoring_.parts;
    p.rows = std::min(kPart, k.rows - begin);
    p.padded = std::min(kPart, padded_ - begin);
    if (copies_keys_) {
        p.from = start(k, problem_.type, b, h, begin);
        p.stride = k.row_stride;
        p.width = k.columns;
        p.to = const_cast<int32_t*>(packed.k) + begin * packed.k_stride;
        p.to_stride = packed.k_stride;
        set_.pack_keys(p);
    }
    const auto flag = [&](const uint8_t* flags, const int32_t* rows, int64_t stride, int64_t keys_a_row, int64_t width) {
        for (int64_t key = begin; key < begin + p.padded; key += kOddKeys) {
            const int64_t n = std::min(kOddKeys, begin + p.padded - key) / keys_a_row;
            const_cast<uint8_t*>(flags)[key / kOddKeys] =
                set_.odd(rows + key / keys_a_row * stride, stride, n, width, scoring_.pairs);
        }
    };
    // What is odd is all first third.
    if (packed.odd_keys) flag(packed.odd_keys, packed.k, packed.k_stride, 1, packed.k_stride / kThirds);
    if (!values_) return;
    const int64_t keys_a_row = scoring_.pairs ? 2 : 1;
    if (copies_values_) {
        p.from = start(v, problem_.type, b, h, begin);
        p.stride = v.row_stride;
        p.width = v.columns;
        p.to = const_cast<int32_t*>(packed.v) + begin / keys_a_row * packed.v_stride;
        p.to_stride = packed.v_stride;
        p.padded = std::min(kPart, value_rows_ * keys_a_row - begin);
        set_.pack_values(p);
    }
    const int64_t rows = scoring_.matrix ? kMatrixSide / keys_a_row : 1;  // that lie together, all first thirds of them
    flag(packed.odd, packed.v, packed.v_stride * rows, keys_a_row * rows, scoring_.columns * rows);
}

}  // namespace lookbehind
