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

// The first n elements of a row as floats, 0 behind them; at most kLanes.
LB_INLINE Float widen_some(Type type, const void* row, int64_t n) {
    if (n == kLanes) {
        if (type == Type::float32) return load(static_cast<const float*>(row));
        const uint16_t* const from = static_cast<const uint16_t*>(row);
        return type == Type::bfloat16 ? widen_bfloat16(from) : widen_float16(from);
    }
    float floats[kLanes] = {};
    widen_row(type, row, n, floats);
    return load(floats);
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

#ifdef LB_HAS_MATRIX
// Thirds of row[0 .. n), each `width` elements, a multiple of kMatrixSide; 0 behind n.
LB_INLINE void cut_row(Type type, const char* row, int64_t n, uint16_t* to, int64_t width) {
    const int64_t bytes = type == Type::float32 ? 4 : 2;
    for (int64_t i = 0; i < width; i += 2 * kLanes) {
        Int third[2][kThirds];
        LB_UNROLL
        for (int64_t half = 0; half < 2; ++half) {
            const int64_t at = i + half * kLanes, left = n - at;
            cut_any(widen_some(type, row + at * bytes, left < 0 ? 0 : left < kLanes ? left : kLanes), third[half]);
        }
        LB_UNROLL
        for (int64_t t = 0; t < kThirds; ++t) {
            store(reinterpret_cast<int32_t*>(to + t * width + i), upper_halves(third[0][t], third[1][t]));
        }
    }
}
#endif

// The elements of one row as words, 0 behind them up to `words`.
LB_INLINE void pack_row(const Packing& p, const char* from, int32_t* to, int64_t words) {
#ifdef LB_HAS_MATRIX
    if (p.parts == kThirds) {
        return cut_row(p.type, from, p.width, reinterpret_cast<uint16_t*>(to), words / kThirds * 2);
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
static void pack_rows(const Packing& p) {
    const int64_t bytes = p.stride * (p.type == Type::float32 ? 4 : 2);
    const char* from = static_cast<const char*>(p.from);
    int32_t* to = p.to;
    for (int64_t row = 0; row < p.rows; ++row, from += bytes, to += p.to_stride) pack_row(p, from, to, p.to_stride);
    memset(to, 0, static_cast<size_t>((p.padded - p.rows) * p.to_stride) * 4);
}

// Words to `to`, kSub at a time and those so far apart.
LB_INLINE void store_apart(Float words, int32_t* to, int64_t apart) {
    float side_by_side[kLanes];
    store(side_by_side, words);
    LB_UNROLL
    for (int i = 0; i < kLanes; i += kSub, to += apart) memcpy(to, side_by_side + i, kSub * 4);
}

// Elements c to c + kLanes - 1 of a row as floats; 0 behind its end, and where there is no such row.
LB_INLINE Float widen_part(const Packing& p, int64_t row, int64_t c) {
    const int64_t left = p.width - c, n = row >= p.rows || left < 0 ? 0 : left < kLanes ? left : kLanes;
    const char* const from = static_cast<const char*>(p.from) + (row * p.stride + c) * (p.type == Type::float32 ? 4 : 2);
    return n ? widen_some(p.type, from, n) : same(0.0f);
}

// Panels of kSub keys, see Head.
static void pack_key_panels(const Packing& p) {
    const int64_t depth = p.to_stride;
    for (int64_t key = 0; key < p.padded; key += kLanes) {
        for (int64_t d = 0; d < depth; d += kLanes) {
            int32_t rows[kLanes * kLanes], columns[kLanes * kLanes];
            for (int i = 0; i < kLanes; ++i) store(rows + i * kLanes, bits(widen_part(p, key + i, d)));
            transpose(rows, kLanes, columns, kLanes);
            for (int i = 0; i < kLanes && d + i < depth; ++i) {
                store_apart(load_words(columns + i * kLanes), p.to + key * depth + (d + i) * kSub, depth * kSub);
            }
        }
    }
}

// Panels of values, see Head.
static void pack_value_panels(const Packing& p) {
    constexpr int kRows = 16 / kSub;  // a line of the cache is written at once
    const int64_t columns = p.to_stride;
    for (int64_t row = 0; row < p.padded; row += kRows) {
        int32_t* const to = p.to + row / kPanelKeys * kPanelKeys * columns + row % kPanelKeys * kSub;
        for (int64_t c = 0; c < columns; c += kSub) {
            for (int i = 0; i < kRows; ++i) {
                float words[kLanes];
                store(words, widen_part(p, row + i, c));
                memcpy(to + c * kPanelKeys + i * kSub, words, kSub * 4);
            }
        }
    }
}

static void pack_keys(const Packing& p) {
    if constexpr (kPanels) pack_key_panels(p);
    else pack_rows(p);
}

#ifdef LB_HAS_MATRIX
// Of each kMatrixSide rows: [p.parts][columns][kMatrixSide] elements, a row a column of theirs.
static void turn_values(const Packing& p) {
    const int64_t columns = p.to_stride / p.parts, bytes = p.type == Type::float32 ? 4 : 2;
    alignas(64) int32_t pairs[kThirds][kLanes * kLanes];  // of some columns: a row the rows 2 i and 2 i + 1
    for (int64_t first = 0; first < p.padded; first += kMatrixSide) {
        int32_t* const to = p.to + first / 2 * p.to_stride;
        for (int64_t c = 0; c < columns; c += kLanes) {
            const int64_t left = p.width - c, width = left < 0 ? 0 : left < kLanes ? left : kLanes;
            const bool whole = p.type == Type::bfloat16 && width == kLanes && first + kMatrixSide <= p.rows;
            for (int64_t i = 0; i < kLanes; ++i) {
                if (whole) {  // what almost all are
                    const uint16_t* const even = static_cast<const uint16_t*>(p.from) + (first + 2 * i) * p.stride + c;
                    const Int low = shift_right_unsigned<16>(bits(widen_bfloat16(even)));
                    store(pairs[0] + i * kLanes, bit_or(bits(widen_bfloat16(even + p.stride)), low));
                    continue;
                }
                Int part[2][kThirds];
                LB_UNROLL
                for (int64_t j = 0; j < 2; ++j) {
                    const int64_t row = first + 2 * i + j;
                    const char* const from = static_cast<const char*>(p.from) + (row * p.stride + c) * bytes;
                    const Float x = row < p.rows ? widen_some(p.type, from, width) : same(0.0f);
                    if (p.parts == 1) part[j][0] = bits(x);
                    else cut_any(x, part[j]);
                }
                for (int64_t t = 0; t < p.parts; ++t) {
                    store(pairs[t] + i * kLanes, bit_or(part[1][t], shift_right_unsigned<16>(part[0][t])));
                }
            }
            for (int64_t t = 0; t < p.parts; ++t) transpose(pairs[t], kLanes, to + (t * columns + c) * kLanes, kLanes);
        }
    }
}
#endif

// Row by row, but pairs are made of two rows' elements of one column: the low half is the even row's.
static void pack_values(const Packing& p) {
    if constexpr (kPanels) return pack_value_panels(p);
    if (!p.pairs) return pack_rows(p);
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
    int32_t high = 0, low = 0;  // the largest exponents
    for (int64_t row = 0; row < rows; ++row, words += stride) {
        for (int64_t c = 0; c < width; ++c) {
            const int32_t upper = words[c] & 0x7f800000, lower = words[c] & 0x7f80;
            high = upper > high ? upper : high;
            low = lower > low ? lower : low;
        }
    }
    return high == 0x7f800000 || (pairs && low == 0x7f80);
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
        pack_rows(p);
        rows = room;
        row_stride = depth;
    }
    for (int64_t d = 0; d < depth; d += kLanes) {
        for (int v = 0; v < kVectors; ++v) {
            transpose(rows + v * kLanes * row_stride + d, row_stride, to + d * kTile + v * kLanes, kTile);
        }
    }
    if (const int32_t signs = scoring.signs()) {
        for (int64_t i = 0; i < depth * kTile; ++i) to[i] ^= signs;
    }
}

}  // namespace lookbehind::LOOKBEHIND_SET
