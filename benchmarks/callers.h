// Times calls that several threads make at once.
#ifndef SAVEDMODEL_BENCHMARKS_CALLERS_H_
#define SAVEDMODEL_BENCHMARKS_CALLERS_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

// So many threads do what `make_call(thread)` gives, again and again, for that many
// nanoseconds. Gives those of each call, and the time from the start of the first to the
// end of the last; -1 if a call gave false.
template <typename MakeCall>
std::int64_t MeasureCallers(int callers, std::int64_t duration, const MakeCall& make_call,
                            std::vector<std::int64_t>* times) {
  using Clock = std::chrono::steady_clock;
  using std::chrono::nanoseconds;
  std::vector<std::vector<std::int64_t>> of_each(static_cast<std::size_t>(callers));
  std::atomic<int> ready = 0;
  std::atomic<bool> failed = false;
  const auto run = [&](int thread) {
    std::vector<std::int64_t>& mine = of_each[static_cast<std::size_t>(thread)];
    auto call = make_call(thread);
    ++ready;
    while (ready < callers) std::this_thread::yield();
    const auto end = Clock::now() + nanoseconds(duration);
    for (auto now = Clock::now(); now < end && !failed;) {
      if (!call()) failed = true;
      const auto then = std::exchange(now, Clock::now());
      mine.push_back(nanoseconds(now - then).count());
    }
  };
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < callers; ++thread) threads.emplace_back(run, thread);
  for (std::thread& thread : threads) thread.join();
  const std::int64_t elapsed = nanoseconds(Clock::now() - start).count();
  if (failed) return -1;
  times->clear();
  for (const auto& mine : of_each) times->insert(times->end(), mine.begin(), mine.end());
  return elapsed;
}

#endif  // SAVEDMODEL_BENCHMARKS_CALLERS_H_
