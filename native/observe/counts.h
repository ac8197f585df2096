// How many products each pixel of a map holds.
#pragma once

#include "../lookbehind.h"

namespace lookbehind {

// To [rows, columns]; as floats, rounded beyond 2^24. A few operations for each interval, and a store or two for
// each pixel.
void pixel_counts(const Spans& spans, int64_t rows, int64_t columns, float* counts);

}  // namespace lookbehind
