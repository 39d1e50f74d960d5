#ifndef SAVEDMODEL_COPY_STATS_H_
#define SAVEDMODEL_COPY_STATS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "savedmodel/export.h"

namespace savedmodel {

// Why the elements of a tensor were copied on the way in or out.
enum class CopyReason : int {
  kMisaligned,     // input memory not aligned to kTensorAlignment
  kNonContiguous,  // input strided or Fortran-ordered
  kByteOrder,      // input of foreign byte order
  kPythonObject,   // Python numbers, lists and other objects that hold no array memory
  kString,         // strings, in and out
  kRequested,      // the caller asked for a copy
  kOut,            // output into memory that the caller gave
  kShared,         // output that shares memory which the graph writes in place
  kRetained,       // input that the graph keeps beyond the call
  kCast,           // argument of another dtype than a function's input signature has
};
inline constexpr int kNumCopyReasons = 10;

// "misaligned" and so on.
SAVEDMODEL_EXPORT const char* CopyReasonName(CopyReason reason);

struct CopyStats {
  std::array<std::uint64_t, kNumCopyReasons> count{};
  std::array<std::uint64_t, kNumCopyReasons> bytes{};
};

// Totals of this process so far. Any thread.
SAVEDMODEL_EXPORT CopyStats GetCopyStats();

// Adds one copy of that many bytes. Any thread.
SAVEDMODEL_EXPORT void CountCopy(CopyReason reason, std::size_t bytes);

}  // namespace savedmodel

#endif  // SAVEDMODEL_COPY_STATS_H_
