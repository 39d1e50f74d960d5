#ifndef SAVEDMODEL_BINDINGS_VALUE_H_
#define SAVEDMODEL_BINDINGS_VALUE_H_

#include <pybind11/pybind11.h>

#include <string>

#include "savedmodel/value.h"

namespace savedmodel::python {

// What a Python object is as an argument of a function: None, numbers, str and bytes as
// they are; lists, tuples, named tuples and mappings (with str keys) as nests; everything
// that holds an array (NumPy's arrays and scalars, __dlpack__, __array__, the buffer
// protocol) as a tensor of its own dtype, viewed where ToTensor would view it. `owner`
// and `name` say in errors whose argument it is. Throws TypeError for other objects,
// Error(InvalidArgument) for nests deeper than Value::kMaxDepth (cyclic ones too).
// Requires GIL.
Value ToValue(pybind11::handle object, const std::string& owner, const std::string& name);

// The Python object: tensors as ToArray gives them, specs as savedmodel.TensorSpec, named
// tuples as SparseTensorValue, RaggedTensorValue or a class made by
// collections.namedtuple, one for each type name and fields. What has no Python
// counterpart becomes its text. Requires GIL.
pybind11::object FromValue(const Value& value);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_VALUE_H_
