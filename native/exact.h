// One query as the definition says, in double: where scores are so large that a float is rounded by more than what tells weights apart.
#pragma once

#include "kernels.h"

namespace lookbehind {

// Writes the output of query `row` of a head, if out.data is not null, and its lse, if that is not null.
void attend_exactly(const Problem& problem, const Kernels& set, int64_t b, int64_t head, int64_t row, const Output& out, float* lse);

}  // namespace lookbehind
