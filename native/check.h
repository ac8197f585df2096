// What a call must satisfy before any memory is touched. Each throws Error.
#pragma once

#include "lookbehind.h"

namespace lookbehind {

void check_attend(const Problem& problem, const Output& out, const Options& options);
void check_logsumexp(const Problem& problem, const float* lse, const Options& options);
void check_observe(const Problem& problem, const float* lse, const Wants& wants, const Options& options);

}  // namespace lookbehind
