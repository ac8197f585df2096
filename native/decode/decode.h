// attend and logsumexp where there are few queries: every key and value is read once, for all rows that share it.
#pragma once

#include "general.h"
#ifdef LB_HAS_MATRIX
#include "matrix.h"
#elif defined(LB_HAS_DOT)
#include "pairs.h"
#endif

namespace lookbehind::LOOKBEHIND_SET {

static size_t decode_scratch(const DecodeCall& call) {
    size_t bytes = Decoder<Type::float32>::scratch(call);  // the same for all types
    if (call.scoring.type == Type::bfloat16) {
#ifdef LB_HAS_MATRIX
        const size_t more = MatrixDecoder::scratch(call);
        if (MatrixDecoder::takes(call) && more > bytes) bytes = more;
#elif defined(LB_HAS_DOT)
        bytes = PairDecoder::scratch(call);
#endif
    }
    return bytes;
}

// What the matrix unit does not take is multiplied as floats there, not as pairs: CPUs that have the unit do the dot of pairs by
// vectors at half the rate of multiply-adds or less.
static void decode_bfloat16(const DecodeUnit& unit, void* scratch) {
#ifdef LB_HAS_MATRIX
    if (MatrixDecoder::takes(*unit.call)) {
        DecodeUnit whole = unit, rest = unit;
        whole.stop = rest.first = unit.first + (unit.stop - unit.first) / MatrixDecoder::kKeys * MatrixDecoder::kKeys;
        if (whole.first < whole.stop) MatrixDecoder(whole, scratch).run();
        if (rest.first < rest.stop) Decoder<Type::bfloat16>(rest, scratch).run();
        return;
    }
#elif defined(LB_HAS_DOT)
    return PairDecoder(unit, scratch).run();
#endif
    Decoder<Type::bfloat16>(unit, scratch).run();
}

static void decode(const DecodeUnit& unit, void* scratch) {
    begin(unit);
    switch (unit.call->scoring.type) {
        case Type::float32: return Decoder<Type::float32>(unit, scratch).run();
        case Type::float16: return Decoder<Type::float16>(unit, scratch).run();
        case Type::bfloat16: return decode_bfloat16(unit, scratch);
    }
}

static void order_values(const DecodeCall& call, const float* sums, float* columns) {
    switch (call.scoring.type) {
        case Type::float32: return Decoder<Type::float32>::order(call, sums, columns);
        case Type::float16: return Decoder<Type::float16>::order(call, sums, columns);
        case Type::bfloat16:
#if defined(LB_HAS_DOT) && !defined(LB_HAS_MATRIX)
            return PairDecoder::order(call, sums, columns);
#else
            return Decoder<Type::bfloat16>::order(call, sums, columns);
#endif
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
