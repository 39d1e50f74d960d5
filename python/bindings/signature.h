#ifndef SAVEDMODEL_BINDINGS_SIGNATURE_H_
#define SAVEDMODEL_BINDINGS_SIGNATURE_H_

#include <pybind11/pybind11.h>

#include <vector>

#include "annotations.h"
#include "savedmodel/signature.h"
#include "savedmodel/tensor.h"

namespace savedmodel::python {

// A Python Signature object. Requires GIL.
pybind11::object MakeSignature(Signature signature);

// What a Python Signature object wraps, and what a call of it makes of its arguments and
// of its results. Require GIL.
const Signature& GetSignature(const pybind11::handle& signature);
std::vector<Tensor> ToInputs(const pybind11::handle& signature, PyObject* args,
                             PyObject* kwargs);
ArrayDict ToOutputs(const pybind11::handle& signature, std::vector<Tensor> outputs);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_SIGNATURE_H_
