#include "core/runtime.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#include "absl/base/log_severity.h"
#include "absl/log/globals.h"
#include "savedmodel/error.h"
#include "savedmodel/logging.h"
#include "tensorflow/core/public/session.h"

namespace savedmodel {

namespace {

constexpr char kCcLibrary[] = "libtensorflow_cc.so.2";

std::atomic<bool> forked{false};
std::atomic<bool> log_level_chosen{false};
void* runtime = nullptr;  // what LoadRuntime has opened
std::atomic<double> load_seconds{0};

using Clock = std::chrono::steady_clock;
constexpr Clock::duration kFailureSettles = std::chrono::milliseconds(100);
std::atomic<Clock::duration> last_failure{-kFailureSettles};

Clock::duration Now() { return Clock::now().time_since_epoch(); }

void ApplyLogLevel(LogLevel level) {
  absl::SetMinLogLevel(static_cast<absl::LogSeverityAtLeast>(level));
}

// Our libtensorflow_framework's folder: the wheel's.
std::string WheelFolder() {
  Dl_info info;
  auto* symbol = static_cast<tensorflow::Session* (*)(const tensorflow::SessionOptions&)>(
      &tensorflow::NewSession);
  if (dladdr(reinterpret_cast<void*>(symbol), &info) == 0 || info.dli_fname == nullptr)
    return {};
  std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

void LoadRuntime() {
  const auto start = Clock::now();
  const std::string path = WheelFolder() + kCcLibrary;
  // Lazily: binding all of its symbols at once takes another tenth of a second.
  runtime = dlopen(path.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (runtime == nullptr) {
    throw Error(ErrorCode::kNotFound,
                "cannot load TensorFlow's runtime: " + std::string(dlerror()));
  }
  load_seconds.store(std::chrono::duration<double>(Clock::now() - start).count());
}

}  // namespace

void SetLogLevel(LogLevel level) {
  log_level_chosen.store(true);
  ApplyLogLevel(level);
}

void PrepareLogging() {
  static std::once_flag once;
  std::call_once(once, [] {
    // Whoever loaded the runtime before us has chosen its own level.
    if (RuntimeIsLoaded() || log_level_chosen.load()) return;
    const char* level = std::getenv("TF_CPP_MIN_LOG_LEVEL");
    const bool given =
        level != nullptr && *level >= '0' && *level <= '3' && level[1] == '\0';
    ApplyLogLevel(given ? static_cast<LogLevel>(*level - '0') : LogLevel::kFatal);
  });
}

void PrepareRuntime() {
  ThrowIfForked();
  PrepareLogging();
  static std::once_flag once;
  std::call_once(once,
                 [] { pthread_atfork(nullptr, nullptr, [] { forked.store(true); }); });
}

bool RuntimeIsLoaded() {
  void* loaded = dlopen(kCcLibrary, RTLD_LAZY | RTLD_NOLOAD);
  if (loaded == nullptr) return false;
  dlclose(loaded);
  return true;
}

void EnsureRuntime() {
  // First: a fork while the library is being loaded must be noticed, too.
  PrepareRuntime();
  static std::once_flag once;
  std::call_once(once, LoadRuntime);
}

double RuntimeLoadSeconds() noexcept { return load_seconds.load(); }

void* RuntimeSymbol(const char* name) {
  EnsureRuntime();
  void* symbol = dlsym(runtime, name);
  if (symbol == nullptr) {
    throw Error(ErrorCode::kNotFound,
                "TensorFlow's runtime has no symbol '" + std::string(name) + "'");
  }
  return symbol;
}

bool RuntimeForked() noexcept { return forked.load(std::memory_order_relaxed); }

void ThrowIfForked() {
  if (RuntimeForked()) {
    throw Error(
        ErrorCode::kFailedPrecondition,
        "this process was forked after TensorFlow had been started in it, and its "
        "threads do not survive a fork; load models only after forking, or start workers "
        "with "
        "the 'spawn' or 'forkserver' method");
  }
}

void NoteFailedRun() noexcept { last_failure.store(Now()); }

void AwaitFailedRuns() noexcept {
  const auto wait = kFailureSettles - (Now() - last_failure.load());
  if (wait.count() > 0) std::this_thread::sleep_for(wait);
}

}  // namespace savedmodel
