// Which instruction sets there are, and which of them this machine runs.
#include "kernels.h"

#if defined(__linux__) && defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace lookbehind {

namespace {

struct Candidate {
    const char* name;
    const Kernels* (*kernels)();
    bool (*runs)();
};

bool always() { return true; }

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
// The compiler's own check includes that the system saves the registers.
bool has_avx2() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
bool has_avx512bf16() { return has_avx512() && __builtin_cpu_supports("avx512bf16"); }
#else
bool has_avx2() { return false; }
bool has_avx512() { return false; }
bool has_avx512bf16() { return false; }
#endif

// NEON is part of AArch64, and is compiled nowhere else.
#if defined(__linux__) && defined(__x86_64__)
// Whether the CPU has the matrix unit with bfloat16, and the system lets this process use it: Linux saves its
// registers only for those who have asked.
bool ask_for_amx() {
    unsigned a, b, c, d;
    if (!has_avx512bf16() || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    constexpr unsigned kBfloat16 = 1u << 22, kTiles = 1u << 24;
    if ((d & (kBfloat16 | kTiles)) != (kBfloat16 | kTiles)) return false;
    constexpr int kAsk = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kAsk, kTileData) == 0;
}
bool has_amx() {
    static const bool has = ask_for_amx();
    return has;
}
#else
bool has_amx() { return false; }
#endif

constexpr Candidate kCandidates[] = {
    {"amx", amx_kernels, has_amx},
    {"avx512bf16", avx512bf16_kernels, has_avx512bf16},
    {"avx512", avx512_kernels, has_avx512},
    {"avx2", avx2_kernels, has_avx2},
    {"neon", neon_kernels, always},
    {"portable", portable_kernels, always},
};

std::vector<std::string> names(bool here) {
    std::vector<std::string> found;
    for (const Candidate& one : kCandidates) {
        if (one.kernels() && (!here || one.runs())) found.push_back(one.name);
    }
    return found;
}

}  // namespace

const Kernels& kernels(const std::string& set) {
    for (const Candidate& one : kCandidates) {
        if (!set.empty() && set != one.name) continue;
        if (one.kernels() && one.runs()) return *one.kernels();
        const char* why = one.kernels() ? " needs instructions that this machine lacks" : " is not compiled in";
        if (!set.empty()) throw Error("set: " + set + why + "; leave it out for the best there is");
    }
    std::string known;
    for (const Candidate& one : kCandidates) known += (known.empty() ? "" : ", ") + std::string(one.name);
    throw Error("set: no instruction set is called \"" + set + "\"; there are " + known);
}

std::vector<std::string> sets() { return names(true); }

std::vector<std::string> compiled_sets() { return names(false); }

}  // namespace lookbehind
