#ifndef SAVEDMODEL_BINDINGS_BATCHING_H_
#define SAVEDMODEL_BINDINGS_BATCHING_H_

#include <pybind11/pybind11.h>

namespace savedmodel::python {

// Adds submit, run_async and batched to the class Signature. Requires GIL.
void DefineAsynchronousCalls(pybind11::object signature_class);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_BATCHING_H_
