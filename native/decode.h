// attend and logsumexp for a few queries.
#pragma once

#include "lookbehind.h"

namespace lookbehind {

// Whether the call, which has been checked, was taken; out.data is null where lse alone is wanted.
bool decode(const Problem& problem, const Output& out, float* lse, const Options& options);

}  // namespace lookbehind
