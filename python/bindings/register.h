// Each binding file adds its classes and functions to the module. Requires GIL.
#ifndef SAVEDMODEL_BINDINGS_REGISTER_H_
#define SAVEDMODEL_BINDINGS_REGISTER_H_

#include <pybind11/pybind11.h>

namespace savedmodel::python {

void RegisterAllocator(pybind11::module_& m);
void RegisterBatching(pybind11::module_& m);
void RegisterErrors(pybind11::module_& m);
void RegisterInspect(pybind11::module_& m);
void RegisterModel(pybind11::module_& m);
void RegisterObjectGraph(pybind11::module_& m);
void RegisterOptions(pybind11::module_& m);
void RegisterSavedModel(pybind11::module_& m);
void RegisterSession(pybind11::module_& m);
void RegisterSignature(pybind11::module_& m);

}  // namespace savedmodel::python

#endif  // SAVEDMODEL_BINDINGS_REGISTER_H_
