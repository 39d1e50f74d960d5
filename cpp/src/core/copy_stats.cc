#include "savedmodel/copy_stats.h"

#include <atomic>

namespace savedmodel {

namespace {

struct Counter {
  std::atomic<std::uint64_t> count{0};
  std::atomic<std::uint64_t> bytes{0};
};
std::array<Counter, kNumCopyReasons> counters;

}  // namespace

const char* CopyReasonName(CopyReason reason) {
  switch (reason) {
    case CopyReason::kMisaligned: return "misaligned";
    case CopyReason::kNonContiguous: return "non_contiguous";
    case CopyReason::kByteOrder: return "byte_order";
    case CopyReason::kPythonObject: return "python_object";
    case CopyReason::kString: return "string";
    case CopyReason::kRequested: return "requested";
    case CopyReason::kOut: return "out";
    case CopyReason::kShared: return "shared";
    case CopyReason::kRetained: return "retained";
    case CopyReason::kCast: return "cast";
  }
  return "";
}

CopyStats GetCopyStats() {
  CopyStats stats;
  for (int i = 0; i < kNumCopyReasons; ++i) {
    stats.count[i] = counters[i].count.load(std::memory_order_relaxed);
    stats.bytes[i] = counters[i].bytes.load(std::memory_order_relaxed);
  }
  return stats;
}

void CountCopy(CopyReason reason, std::size_t bytes) {
  Counter& counter = counters[static_cast<int>(reason)];
  counter.count.fetch_add(1, std::memory_order_relaxed);
  counter.bytes.fetch_add(bytes, std::memory_order_relaxed);
}

}  // namespace savedmodel
