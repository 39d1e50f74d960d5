#include "savedmodel/object_graph.h"

#include <pybind11/stl.h>

#include "annotations.h"
#include "array_in.h"
#include "array_out.h"
#include "convert.h"
#include "gil.h"
#include "register.h"
#include "savedmodel/model.h"
#include "value.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

// The arguments of a Python call. Requires GIL.
std::pair<Value::Elements, Value::Items> ToArguments(const py::tuple& args,
                                                     const py::dict& kwargs,
                                                     const std::string& owner) {
  std::pair<Value::Elements, Value::Items> arguments;
  for (std::size_t i = 0; i < args.size(); ++i)
    arguments.first.push_back(ToValue(args[i], owner, std::to_string(i)));
  for (const auto& [key, value] : kwargs) {
    const auto name = key.cast<std::string>();
    arguments.second.emplace_back(name, ToValue(value, owner, name));
  }
  return arguments;
}

template <typename Callee>
py::object Call(const Callee& callee, const py::args& args, const py::kwargs& kwargs) {
  DrainReleases();
  auto [positional, named] =
      ToArguments(args, kwargs, "function '" + callee.name() + "'");
  Value result;
  {
    const GilRelease released;
    result = callee.Call(std::move(positional), std::move(named));
  }
  DrainReleases();
  return FromValue(result);
}

const char* KindName(Object::Kind kind) {
  switch (kind) {
    case Object::Kind::kObject: return "object";
    case Object::Kind::kList: return "list";
    case Object::Kind::kTuple: return "tuple";
    case Object::Kind::kDict: return "dict";
    case Object::Kind::kFunction: return "function";
    case Object::Kind::kConcreteFunction: return "concrete_function";
    case Object::Kind::kVariable: return "variable";
    case Object::Kind::kConstant: return "constant";
    case Object::Kind::kAsset: return "asset";
    case Object::Kind::kResource: return "resource";
    case Object::Kind::kOther: break;
  }
  return "other";
}

py::object Spec(const Variable& variable, const char* field) {
  return ToTensorSpec("", {"", variable.dtype(), variable.shape()}).attr(field);
}

Tensor ToVariableTensor(const Variable& variable, const py::object& value) {
  const std::string owner = variable.description();
  return ToTensor(value.ptr(), {variable.name(), variable.dtype(), variable.shape()},
                  Place{owner, "value for", variable.name()}, CopyMode::kIfNeeded);
}

template <typename Callee>
ArrayList RunGradients(const Callee& function, const py::typing::List<py::object>& inputs,
                       const std::vector<Variable>& variables,
                       const py::object& output_gradients,
                       const py::typing::Dict<py::str, py::object>& kwargs) {
  DrainReleases();
  const std::string owner = "gradients of function '" + function.name() + "'";
  auto [positional, named] = ToArguments(py::tuple(inputs), kwargs, owner);
  const Value upstream = ToValue(output_gradients, owner, "output_gradients");
  std::vector<Tensor> gradients;
  {
    const GilRelease released;
    gradients =
        Gradients(function, std::move(positional), std::move(named), variables, upstream);
  }
  DrainReleases();
  ArrayList arrays;
  for (Tensor& gradient : gradients) arrays.append(ToArray(std::move(gradient)));
  return arrays;
}

}  // namespace

void RegisterObjectGraph(py::module_& m) {
  py::class_<Variable>(m, "Variable", py::release_gil_before_calling_cpp_dtor(),
                       R"(A variable of a loaded model.

What a function, a signature or assign() writes, every later call sees. Two objects are equal
if they are the same variable.)")
      .def_property_readonly("name", &Variable::name,
                             "As TensorFlow names it (\"dense/kernel:0\"); may repeat.")
      .def_property_readonly("dtype",
                             [](const Variable& self) { return Spec(self, "dtype"); })
      .def_property_readonly("shape",
                             [](const Variable& self) { return Spec(self, "shape"); })
      .def_property_readonly("trainable", &Variable::trainable)
      .def_property_readonly("device", &Variable::device,
                             "\"/job:localhost/replica:0/task:0/device:CPU:0\"")
      .def(
          "numpy",
          [](const Variable& self) {
            DrainReleases();
            Tensor value;
            {
              const GilRelease released;
              value = self.value();
            }
            return ArrayObject(ReadOnly(ToArray(std::move(value))));
          },
          "Its value now, as a read-only array without a copy. Later writes do not "
          "change "
          "it.")
      .def(
          "__array__",
          [](const py::object& self, const py::object& dtype, const py::object& copy) {
            const py::object array = self.attr("numpy")();
            return py::module_::import("numpy").attr("array")(array, dtype,
                                                              py::arg("copy") = copy);
          },
          py::arg("dtype") = py::none(), py::arg("copy") = py::none())
      .def(
          "assign",
          [](const Variable& self, const py::object& value) {
            DrainReleases();
            const Tensor tensor = ToVariableTensor(self, value);
            const GilRelease released;
            self.Assign(tensor);
          },
          py::arg("value"),
          "Copies an array of the variable's dtype and shape into it (numbers and lists "
          "take\nthe dtype). Raises TypeError for another dtype, ValueError for another "
          "shape.")
      .def("__eq__",
           [](const Variable& self, const py::object& other) {
             return py::isinstance<Variable>(other) &&
                    self == other.cast<const Variable&>();
           })
      .def("__hash__", &Variable::hash)
      .def("__repr__", [](const py::object& self) {
        return py::str("<savedmodel.Variable {!r} shape={} dtype={}>")
            .format(self.attr("name"), self.attr("shape"), self.attr("dtype"));
      });

  py::class_<ConcreteFunction>(m, "ConcreteFunction",
                               py::release_gil_before_calling_cpp_dtor(),
                               R"(One graph that a tf.function was traced to.

Called with tensors by position or by name, or with the structured arguments; returns the
saved structure with arrays in it.)")
      .def_property_readonly("name", &ConcreteFunction::name)
      .def_property_readonly(
          "structured_input_signature",
          [](const ConcreteFunction& self) {
            return FromValue(self.structured_input_signature());
          },
          "(args, kwargs) with TensorSpecs in place of tensors.")
      .def_property_readonly("structured_outputs",
                             [](const ConcreteFunction& self) {
                               return FromValue(self.structured_outputs());
                             })
      .def("__call__", &Call<ConcreteFunction>)
      .def("gradients", &RunGradients<ConcreteFunction>, py::arg("inputs"),
           py::arg("variables"), py::arg("output_gradients"), py::arg("kwargs"),
           "See savedmodel.gradients.")
      .def("__repr__", [](const ConcreteFunction& self) {
        return "<savedmodel.ConcreteFunction '" + self.name() + "' " +
               self.structured_input_signature().ToString() + ">";
      });

  py::class_<Function>(
      m, "Function", py::release_gil_before_calling_cpp_dtor(),
      R"(A tf.function of the object graph, with every graph it was saved with.

Called as it was in TensorFlow: arrays, numbers, strings, None, and lists, tuples and dicts of
them; Python-valued arguments (training=True) choose among the graphs. Returns the saved
structure with arrays in it. Raises ValueError, with the choices listed, if no graph takes the
arguments.)")
      .def_property_readonly("name", &Function::name,
                             "Where it lies in the object graph: \"layers.0.call\".")
      .def_property_readonly("concrete_functions", &Function::concrete_functions)
      .def("__call__", &Call<Function>)
      .def("gradients", &RunGradients<Function>, py::arg("inputs"), py::arg("variables"),
           py::arg("output_gradients"), py::arg("kwargs"), "See savedmodel.gradients.")
      .def("__repr__", [](const Function& self) {
        return "<savedmodel.Function " + self.ToString() + ">";
      });

  py::class_<Object>(m, "Object",
                     "A node of the object graph: the native half of\n"
                     "savedmodel/object_graph.py, which holds the documentation.")
      .def_property_readonly("id", &Object::id)
      .def_property_readonly(
          "kind", [](const Object& self) { return KindName(self.kind()); },
          "\"object\", \"list\", \"function\", \"variable\", ...")
      .def_property_readonly("path", &Object::path)
      .def("children", &Object::children)
      .def("function", &Object::function)
      .def("concrete_function", &Object::concrete_function)
      .def("variable", &Object::variable)
      .def("constant",
           [](const Object& self) {
             return ArrayObject(ReadOnly(ToArray(self.constant())));
           })
      .def("asset_path", [](const Object& self) { return FromPath(self.asset_path()); });
}

}  // namespace savedmodel::python
