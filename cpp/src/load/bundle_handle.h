#ifndef SAVEDMODEL_LOAD_BUNDLE_HANDLE_H_
#define SAVEDMODEL_LOAD_BUNDLE_HANDLE_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "inspect/graph_index.h"
#include "load/model_graph.h"
#include "savedmodel/options.h"
#include "tensorflow/cc/saved_model/loader.h"

namespace savedmodel {

class Engines;

// A MetaGraph in a session, with what finds its way about in it.
struct LoadedBundle : tensorflow::SavedModelBundle {
  // The session, which is perhaps only made now: a model whose calls the engine answers
  // needs none. To be used in place of the member `session`. Thread-safe.
  tensorflow::Session& GetSession() {
    std::call_once(session_made_, [this] {
      if (session == nullptr) session = make_session();
    });
    return *session;
  }
  std::function<std::unique_ptr<tensorflow::Session>()> make_session;

  std::optional<GraphIndex> index;  // of the graph of meta_graph_def
  // Of a Model. Absent where the whole graph went into the session at once
  // (LoadSavedModel).
  std::optional<ModelGraph> graph;
  // Of a Model that is optimized: run/engines.h. Last, because it has to go first.
  std::shared_ptr<Engines> engines;

  // Makes sure that these tensors and operations are in the session.
  void Require(const std::vector<std::string>& names) {
    if (graph) graph->Require(names);
  }

 private:
  std::once_flag session_made_;
};

// What every handle of one loaded model shares: the way to its session until Close().
// Each call holds the session for its own duration, so that closing frees it after the
// last one.
class BundleHandle {
 public:
  BundleHandle(std::string export_dir, SessionOptions session_options,
               RunOptions run_options, std::shared_ptr<LoadedBundle> bundle);

  // Holds the session for its scope: what a call does, because it needs no lock.
  class Use {
   public:
    // Throws FailedPrecondition if closed, or in a forked child.
    explicit Use(const BundleHandle& handle);
    ~Use() { handle_.Leave(); }
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    LoadedBundle* bundle() const { return handle_.bundle_.get(); }

   private:
    const BundleHandle& handle_;
  };

  // Throws FailedPrecondition if closed, or in a forked child.
  std::shared_ptr<LoadedBundle> Acquire() const;
  // Null if closed, or in a forked child.
  std::shared_ptr<LoadedBundle> TryAcquire() const noexcept;
  void Close() noexcept;

  const std::string& export_dir() const { return export_dir_; }
  const SessionOptions& session_options() const { return session_options_; }
  const RunOptions& run_options() const { return run_options_; }
  // True if TF1 reference variables are in the graph: these are written in place, also
  // under a tensor that was fetched before.
  bool has_ref_variables() const { return has_ref_variables_; }

 private:
  static constexpr std::uint64_t kClosed = std::uint64_t{1} << 63;

  // False if closed.
  bool Enter() const noexcept;
  void Leave() const noexcept;

  const std::string export_dir_;
  const SessionOptions session_options_;
  const RunOptions run_options_;
  const bool has_ref_variables_;
  // How many use the bundle, and kClosed. It goes with the last user after that.
  mutable std::atomic<std::uint64_t> users_{0};
  mutable std::shared_ptr<LoadedBundle> bundle_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_LOAD_BUNDLE_HANDLE_H_
