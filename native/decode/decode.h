// attend and logsumexp where there are few queries: every key and value is read once, for all rows that share it.
#pragma once

#include "general.h"
#include "pairs.h"

// The CPUs that have the matrix unit do the dot of pairs by vectors at half the rate of multiply-adds or less: there
// the latter keep up with memory, and the dot does not.
#if defined(LB_HAS_DOT) && !defined(LB_HAS_MATRIX)
#define LB_DECODES_PAIRS 1
#endif

namespace lookbehind::LOOKBEHIND_SET {

static size_t decode_scratch(const DecodeCall& call) {
#ifdef LB_DECODES_PAIRS
    if (call.scoring.type == Type::bfloat16) return PairDecoder::scratch(call);
#endif
    return Decoder<Type::float32>::scratch(call);  // the same for all types
}

static void decode(const DecodeUnit& unit, void* scratch) {
    float* floats = static_cast<float*>(scratch);
    switch (unit.call->scoring.type) {
        case Type::float32: return Decoder<Type::float32>(unit, floats).run();
        case Type::float16: return Decoder<Type::float16>(unit, floats).run();
        case Type::bfloat16:
#ifdef LB_DECODES_PAIRS
            return PairDecoder(unit, scratch).run();
#else
            return Decoder<Type::bfloat16>(unit, floats).run();
#endif
    }
}

static void order_values(const DecodeCall& call, const float* sums, float* columns) {
    switch (call.scoring.type) {
        case Type::float32: return Decoder<Type::float32>::order(call, sums, columns);
        case Type::float16: return Decoder<Type::float16>::order(call, sums, columns);
        case Type::bfloat16:
#ifdef LB_DECODES_PAIRS
            return PairDecoder::order(call, sums, columns);
#else
            return Decoder<Type::bfloat16>::order(call, sums, columns);
#endif
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
