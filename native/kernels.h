// What the files of an instruction set offer, and what they are handed: plain structs, no templates.
#pragma once

#include <cstddef>
#include <cstdint>

#include "lookbehind.h"
#include "plan.h"

namespace lookbehind {

// The keys and values of one kv head, as the micro-kernel reads them: rows of 32-bit words. A word is a float32
// or, where the set has the dot instruction and the inputs are bfloat16, a pair of bfloat16: two columns of one
// key, or one column of two consecutive keys' values. Rows can be read up to the next multiple of `Scoring::keys`.
// The matrix unit reads values turned: of each 32 keys, rows of 16 words, a row a column. What is no bfloat16 it reads as
// three (matrix/thirds.h): a key is its first thirds, then its second and third ones, and so are 32 keys' values.
// A set with few registers reads panels: of each `Kernels::columns` keys, words side by side, [depth][those keys]; of each
// kPanelKeys keys' values, [columns / those][kPanelKeys][those]. One pointer then reaches all, and no two rows share a set of the cache.
struct Head {
    const int32_t* k = nullptr;
    int64_t k_stride = 0;          // words from key to key
    const int32_t* v = nullptr;    // null for scores alone
    int64_t v_stride = 0;          // words from key (or pair of keys) to the next
    // [ceil(keys / kOddKeys)]: whether some value of those keys is NaN or infinite; for thirds, some element of them.
    const uint8_t *odd = nullptr, *odd_keys = nullptr;
};

constexpr int64_t kOddKeys = 128;
constexpr int64_t kPanelKeys = 128;
constexpr int kMatrixSide = 32;
constexpr int kThirds = 3;
constexpr int kMostTiles = 8;  // that `Kernels::attend` takes at once

// What holds for every product of a call.
struct Scoring {
    bool pairs = false;     // words are pairs of bfloat16
    bool matrix = false;    // and the matrix unit multiplies them
    int parts = 1;          // kThirds: and an element is the sum of three of them
    int keys = 0;           // they are read in multiples of this
    int depth = 0;          // words of a key, all parts
    int columns = 0;        // of v, padded to what `Kernels::columns` says
    int value_columns = 0;  // of v and out as they are
    Type type = Type::float32;
    float scale = 1;       // not negative
    bool negative = false;  // whether the sign of q is to be turned, as the scale's was
    float softcap = 0;  // 0: none
    bool alibi = false;
    bool sinks = false;

    // The bits to turn in a word of q for that.
    int32_t signs() const { return negative ? static_cast<int32_t>(pairs ? 0x80008000u : 0x80000000u) : 0; }
};

// One tile of queries of one head.
struct QueryTile {
    const void* q = nullptr;     // its first row
    int64_t q_stride = 0;        // elements
    int64_t width = 0;           // elements of a row
    int live = 0;                // rows that exist
    const Rows* rows = nullptr;  // what it visits
    const int64_t* row_ptr = nullptr;  // of its first row: rows without an interval are empty
    int64_t position = 0;        // of its first query
    float sink = 0;
    double slope = 0;
    void* out = nullptr;         // its first row, or null for lse alone
    int64_t out_stride = 0;      // elements
    float* lse = nullptr;        // its first row, or null
    uint32_t* far = nullptr;     // set to the rows, a bit each, that are to be done anew (exact.h), or 0
};

// Rows to be packed: [rows, width] elements of `type`.
struct Packing {
    const void* from = nullptr;
    int64_t stride = 0;  // elements
    int64_t rows = 0;    // rows that exist from `from` on
    int64_t padded = 0;  // rows to write, the missing ones as 0; a multiple of 8
    int64_t width = 0;
    Type type = Type::float32;
    bool pairs = false;
    int parts = 1;
    int32_t* to = nullptr;
    int64_t to_stride = 0;  // words, all parts
};

struct ObserveCall;  // see observe/unit.h
struct ObserveUnit;
struct DecodeCall;  // see decode/unit.h
struct DecodeUnit;

// One instruction set.
struct Kernels {
    const char* name;
    int tile;     // queries a tile
    int columns;  // columns of v come in multiples of this
    bool panels;  // keys and values are read in panels
    bool dot;     // bfloat16 is multiplied as it is
    bool matrix;  // and all by the matrix unit, which reads keys, depths and columns of v in multiples of kMatrixSide

    void (*pack_rows)(const Packing&);  // row by row, of any width
    void (*pack_keys)(const Packing&);
    void (*pack_values)(const Packing&);
    // Whether some element of rows of words is NaN or infinite.
    bool (*odd)(const int32_t* words, int64_t stride, int64_t rows, int64_t width, bool pairs);

    // Bytes of scratch memory that `attend` needs for this many tiles at once.
    size_t (*attend_scratch)(const Scoring&, int tiles);
    // Tiles that share keys and values: each block of keys is read by all of them before the next.
    void (*attend)(const Scoring&, const Head&, const QueryTile* tiles, int n_tiles, void* scratch);

    // Keys [first, stop) of a head, turned as `observe` reads them: [rounded up to 16][depth] words. Null for panels, which are so already.
    void (*turn_keys)(const int32_t* rows, int64_t stride, int depth, int64_t first, int64_t stop, int32_t* turned);
    // Bytes of scratch memory that `observe` needs.
    size_t (*observe_scratch)(const ObserveCall&);
    void (*observe)(const ObserveUnit&, void* scratch);
    // Rows of pixels that several units have gathered.
    void (*finish_pixels)(const ObserveUnit&, int64_t first, int64_t stop);

    size_t (*decode_scratch)(const DecodeCall&);
    void (*decode)(const DecodeUnit&, void* scratch);
    void (*order_values)(const DecodeCall&, const float* sums, float* columns);
    // Floats to elements of another type.
    void (*narrow)(Type type, const float* from, int64_t n, void* to);

    double (*peak)(bool pairs, int64_t rounds);  // see peak.h
};

// The sets compiled in, best first; null where it is not.
const Kernels* amx_kernels();
const Kernels* avx512bf16_kernels();
const Kernels* avx512_kernels();
const Kernels* avx2_kernels();
const Kernels* neon_kernels();
const Kernels* portable_kernels();

// The set of that name, or the best one for an empty name. Throws Error if it is unknown or cannot run here.
const Kernels& kernels(const std::string& set);

}  // namespace lookbehind
