// Small conversions that several binding files share.
#ifndef SAVEDMODEL_BINDINGS_CONVERT_H_
#define SAVEDMODEL_BINDINGS_CONVERT_H_

#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <vector>

#include "savedmodel/options.h"
#include "savedmodel/shape.h"

namespace savedmodel::python {

// A tuple with None for unknown sizes, or None for an unknown rank. Requires GIL.
pybind11::object ToShape(const PartialShape& shape);
// savedmodel.TensorSpec(name, dtype, shape). Requires GIL.
pybind11::object ToTensorSpec(const std::string& name, const TensorSpec& spec);

// SessionOptions or RunOptions from: one of ours, serialized bytes, any object with
// SerializeToString(). Throws TypeError. Requires GIL.
SessionOptions ToSessionOptions(const pybind11::object& object);
RunOptions ToRunOptions(const pybind11::object& object);
// The same, absent for None.
std::optional<RunOptions> ToOptionalRunOptions(const pybind11::object& object);

// A str, or a sequence of str, as a list; `what` names it in the TypeError. Requires GIL.
std::vector<std::string> ToNames(const pybind11::handle& object, const char* what);

// The bytes of the file system encoding, from str. Requires GIL.
std::string ToPath(const pybind11::handle& object);
pybind11::str FromPath(const std::string& path);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_CONVERT_H_
