// What a set exports. Included last by set_*.cpp.
#pragma once

#include "attend.h"
#include "decode/decode.h"
#include "observe/observe.h"
#include "peak.h"

#define LB_TEXT_OF(x) #x
#define LB_TEXT(x) LB_TEXT_OF(x)

namespace lookbehind::LOOKBEHIND_SET {

static const Kernels kKernels = {
    .name = LB_TEXT(LOOKBEHIND_SET),
    .tile = kTile,
    .columns = kSub,
    .panels = kPanels,
    .dot = kDot,
    .matrix = is_matrix(kReals),
    .pack_rows = pack_rows,
    .pack_keys = pack_keys,
    .pack_values = pack_values,
    .odd = odd,
    .attend_scratch = attend_scratch,
    .attend = attend,
    .turn_keys = kPanels ? nullptr : turn_keys,
    .observe_scratch = observe_scratch,
    .observe = observe,
    .finish_pixels = finish_pixels,
    .decode_scratch = decode_scratch,
    .decode = decode,
    .order_values = order_values,
    .narrow = narrow_row,
    .peak = peak,
};

}  // namespace lookbehind::LOOKBEHIND_SET
