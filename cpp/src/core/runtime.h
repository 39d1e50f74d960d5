#ifndef SAVEDMODEL_CORE_RUNTIME_H_
#define SAVEDMODEL_CORE_RUNTIME_H_

namespace savedmodel {

// Silences TensorFlow's log as SetLogLevel documents, once. Before anything of TensorFlow
// that may log. Any thread.
void PrepareLogging();

// Watches for fork(): to be called before any of TensorFlow's threads is started. Any
// thread. Throws FailedPrecondition in a forked child.
void PrepareRuntime();

// Loads libtensorflow_cc, which registers the session, the ops and the kernels, from
// beside the libtensorflow_framework that we are linked to, after PrepareRuntime. Once;
// any thread. Throws NotFound if the library is not there, FailedPrecondition in a forked
// child.
void EnsureRuntime();

// True if libtensorflow_cc is in the process, whoever has loaded it.
bool RuntimeIsLoaded();
// How long EnsureRuntime took to load it; 0 before it has.
double RuntimeLoadSeconds() noexcept;

// A C function of libtensorflow_cc, which nothing links to; loads it as EnsureRuntime.
// Throws NotFound, too, if it has no such function.
void* RuntimeSymbol(const char* name);
template <typename Function>
Function* RuntimeFunction(const char* name) {
  return reinterpret_cast<Function*>(RuntimeSymbol(name));
}

// True in the child of a fork() after PrepareRuntime: TensorFlow's threads are gone
// there, and any use of a session would wait for them for ever.
bool RuntimeForked() noexcept;

// Throws FailedPrecondition if RuntimeForked().
void ThrowIfForked();

// A call of a function that cannot be instantiated reports its error while it still holds
// a lock of its kernel (TensorFlow's PartitionedCallOp::ComputeAsync), and the run may be
// over before that lock is released. Whoever sees a run fail says so here, and a session
// is only destroyed when the latest failure is some time ago.
void NoteFailedRun() noexcept;
void AwaitFailedRuns() noexcept;

}  // namespace savedmodel

#endif  // SAVEDMODEL_CORE_RUNTIME_H_
