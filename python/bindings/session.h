#ifndef SAVEDMODEL_BINDINGS_SESSION_H_
#define SAVEDMODEL_BINDINGS_SESSION_H_

#include "annotations.h"
#include "savedmodel/session.h"

namespace savedmodel::python {

// Session.run; Model.run is the same on the model's session. Requires GIL.
ArrayList RunSession(const Session& session, const pybind11::dict& feeds,
                     const pybind11::object& fetches, const pybind11::object& targets,
                     const pybind11::object& run_options, RunMetadata* metadata);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_SESSION_H_
