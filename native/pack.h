// Packing: rows of any element type and stride to rows of words, as the micro-kernel reads them.
#pragma once

#include "kernels.h"
#ifdef LB_HAS_MATRIX
#include "matrix/thirds.h"
#endif
#include "tile.h"

namespace lookbehind::LOOKBEHIND_SET {

// `to` gets floats[0 .. n) of a row, converted; n words.
LB_INLINE void widen_row(Type type, const void* row, int64_t n, float* to) {
    if (type == Type::float32) {
        memcpy(to, row, static_cast<size_t>(n) * 4);
        return;
    }
    const uint16_t* from = static_cast<const uint16_t*>(row);
    const bool brain = type == Type::bfloat16;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(to + i, brain ? widen_bfloat16(from + i) : widen_float16(from + i));
    for (; i < n; ++i) to[i] = brain ? bfloat16_to_float(from[i]) : float16_to_float(from[i]);
}

// floats[0 .. n) of a row, converted to `type`.
LB_INLINE void narrow_row(Type type, const float* from, int64_t n, void* row) {
    if (type == Type::float32) {
        memcpy(row, from, static_cast<size_t>(n) * 4);
        return;
    }
    uint16_t* to = static_cast<uint16_t*>(row);
    const bool brain = type == Type::bfloat16;
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
        if (brain) narrow_bfloat16(to + i, load(from + i));
        else narrow_float16(to + i, load(from + i));
    }
    for (; i < n; ++i) to[i] = brain ? float_to_bfloat16(from[i]) : float_to_float16(from[i]);
}

// The elements of one row as words, 0 behind them up to `words`.
LB_INLINE void pack_row(const Packing& p, const char* from, int32_t* to, int64_t words) {
#ifdef LB_HAS_MATRIX
    if (p.parts == kThirds) {
        const int64_t part = words / kThirds * 2;
        return cut_row(p.type, from, p.width, part, reinterpret_cast<uint16_t*>(to), part);
    }
#endif
    if (p.pairs) {
        memcpy(to, from, static_cast<size_t>(p.width) * 2);
        memset(reinterpret_cast<uint16_t*>(to) + p.width, 0, static_cast<size_t>(words * 2 - p.width) * 2);
    } else {
        widen_row(p.type, from, p.width, reinterpret_cast<float*>(to));
        memset(to + p.width, 0, static_cast<size_t>(words - p.width) * 4);
    }
}

// Row by row; a word holds one element, or two neighbours of the row.
static void pack_keys(const Packing& p) {
    const int64_t bytes = p.stride * (p.type == Type::float32 ? 4 : 2);
    const char* from = static_cast<const char*>(p.from);
    int32_t* to = p.to;
    for (int64_t row = 0; row < p.rows; ++row, from += bytes, to += p.to_stride) pack_row(p, from, to, p.to_stride);
    memset(to, 0, static_cast<size_t>((p.padded - p.rows) * p.to_stride) * 4);
}

#ifdef LB_HAS_MATRIX
// Of each kMatrixSide rows: [p.parts][columns][kMatrixSide] elements, a row a column of theirs.
static void turn_values(const Packing& p) {
    const int64_t columns = p.to_stride / p.parts, bytes = p.type == Type::float32 ? 4 : 2;
    uint16_t room[kMatrixSide][kThirds * kLanes];  // of some columns
    for (int64_t first = 0; first < p.padded; first += kMatrixSide) {
        int32_t* const to = p.to + first / 2 * p.to_stride;
        for (int64_t c = 0; c < columns; c += kLanes) {
            const int64_t left = p.width - c, width = left < 0 ? 0 : left < kLanes ? left : kLanes;
            const char* const from = static_cast<const char*>(p.from) + (first * p.stride + c) * bytes;
            const uint16_t* rows = room[0];
            int64_t stride = kThirds * kLanes;
            if (p.parts == 1 && width == kLanes && first + kMatrixSide <= p.rows) {
                rows = reinterpret_cast<const uint16_t*>(from);
                stride = p.stride;
            } else {
                memset(room, 0, sizeof room);
                for (int64_t j = 0; j < kMatrixSide && first + j < p.rows; ++j) {
                    const char* const row = from + j * p.stride * bytes;
                    if (p.parts == 1) memcpy(room[j], row, static_cast<size_t>(width) * 2);
                    else cut_row(p.type, row, width, width, room[j], kLanes);
                }
            }
            for (int64_t part = 0; part < p.parts; ++part) {
                int32_t pairs[kLanes * kLanes];
                for (int i = 0; i < kLanes; ++i) {
                    const uint16_t* even = rows + 2 * i * stride + part * kLanes;
                    const Int low = shift_right_unsigned<16>(bits(widen_bfloat16(even)));
                    store(pairs + i * kLanes, bit_or(low, bits(widen_bfloat16(even + stride))));
                }
                transpose(pairs, kLanes, to + (part * columns + c) * kLanes, kLanes);
            }
        }
    }
}
#endif

// As keys are; but pairs are made of two rows' elements of one column: the low half is the even row's.
static void pack_values(const Packing& p) {
    if (!p.pairs) return pack_keys(p);
#ifdef LB_HAS_MATRIX
    return turn_values(p);
#endif
    const uint16_t* even = static_cast<const uint16_t*>(p.from);
    int32_t* to = p.to;
    int64_t row = 0;
    for (; row + 2 <= p.rows; row += 2, even += 2 * p.stride, to += p.to_stride) {
        const uint16_t* odd = even + p.stride;
        for (int64_t c = 0; c < p.width; ++c) {
            to[c] = static_cast<int32_t>(even[c] | static_cast<uint32_t>(odd[c]) << 16);
        }
        for (int64_t c = p.width; c < p.to_stride; ++c) to[c] = 0;
    }
    if (row < p.rows) {
        for (int64_t c = 0; c < p.to_stride; ++c) to[c] = c < p.width ? even[c] : 0;
        row += 2;
        to += p.to_stride;
    }
    if (row < p.padded) memset(to, 0, static_cast<size_t>((p.padded - row) / 2 * p.to_stride) * 4);
}

// Whether some float of rows of words, or one of two bfloat16 in a word, is NaN or infinite.
static bool odd(const int32_t* words, int64_t stride, int64_t rows, int64_t width, bool pairs) {
    int32_t found = 0;
    const int32_t low = pairs ? 0x7f80 : -1;  // -1: never equal, as the sign is masked away
    for (int64_t row = 0; row < rows; ++row, words += stride) {
        for (int64_t c = 0; c < width; ++c) {
            found |= (words[c] & 0x7f800000) == 0x7f800000 ? 1 : 0;
            found |= (words[c] & 0x7f80) == low ? 1 : 0;
        }
    }
    return found != 0;
}

// A tile of queries, turned so that each is a lane: to [depth rounded up to kLanes][kTile]. Lanes without a
// query are 0. `room` holds kTile rows of that depth.
static void pack_queries(const Scoring& scoring, const QueryTile& tile, int32_t* room, int32_t* to) {
    const int64_t depth = (scoring.depth + kLanes - 1) / kLanes * kLanes;
    const int64_t width = scoring.pairs ? depth * 2 : depth, stride = scoring.pairs ? tile.q_stride / 2 : tile.q_stride;
    const bool words = scoring.parts == 1 && (scoring.type == Type::float32 || (scoring.pairs && tile.q_stride % 2 == 0));
    const int32_t* rows = static_cast<const int32_t*>(tile.q);
    int64_t row_stride = stride;
    if (!(words && tile.live == kTile && tile.width == width)) {
        Packing p;
        p.from = tile.q;
        p.stride = tile.q_stride;
        p.rows = tile.live;
        p.padded = kTile;
        p.width = tile.width;
        p.type = scoring.type;
        p.pairs = scoring.pairs;
        p.parts = scoring.parts;
        p.to = room;
        p.to_stride = depth;
        pack_keys(p);
        rows = room;
        row_stride = depth;
    }
    for (int64_t d = 0; d < depth; d += kLanes) {
        for (int v = 0; v < kVectors; ++v) {
            transpose(rows + v * kLanes * row_stride + d, row_stride, to + d * kTile + v * kLanes, kTile);
        }
    }
    if (scoring.negative) {
        const int32_t signs = static_cast<int32_t>(scoring.pairs ? 0x80008000u : 0x80000000u);
        for (int64_t i = 0; i < depth * kTile; ++i) to[i] ^= signs;
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
