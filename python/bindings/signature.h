#ifndef SAVEDMODEL_BINDINGS_SIGNATURE_H_
#define SAVEDMODEL_BINDINGS_SIGNATURE_H_

#include <pybind11/pybind11.h>

#include "savedmodel/signature.h"

namespace savedmodel::python {

// A Python Signature object. Requires GIL.
pybind11::object MakeSignature(Signature signature);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_SIGNATURE_H_
