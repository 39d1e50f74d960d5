// Python objects whose C++ type says more than py::object, so that the generated stubs
// do.
#ifndef SAVEDMODEL_BINDINGS_ANNOTATIONS_H_
#define SAVEDMODEL_BINDINGS_ANNOTATIONS_H_

#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

namespace savedmodel::python {

#define SAVEDMODEL_ANNOTATION(Name)                                                 \
  class Name : public pybind11::object {                                            \
   public:                                                                          \
    Name(pybind11::object held) : pybind11::object(std::move(held)) {} /* NOLINT */ \
  }
SAVEDMODEL_ANNOTATION(ArrayObject);
SAVEDMODEL_ANNOTATION(TensorSpecObject);
SAVEDMODEL_ANNOTATION(FingerprintObject);
SAVEDMODEL_ANNOTATION(FutureObject);
SAVEDMODEL_ANNOTATION(CoroutineObject);
SAVEDMODEL_ANNOTATION(BatchStatsObject);
SAVEDMODEL_ANNOTATION(BatchedSignatureObject);
SAVEDMODEL_ANNOTATION(SignatureObject);
SAVEDMODEL_ANNOTATION(DiagnosisObject);
SAVEDMODEL_ANNOTATION(InspectionObject);
SAVEDMODEL_ANNOTATION(LoadReportObject);
SAVEDMODEL_ANNOTATION(OptimizeReportObject);
SAVEDMODEL_ANNOTATION(RunnerObject);
#undef SAVEDMODEL_ANNOTATION

using ArrayDict = pybind11::typing::Dict<pybind11::str, ArrayObject>;
using ArrayList = pybind11::typing::List<ArrayObject>;
using SpecDict = pybind11::typing::Dict<pybind11::str, TensorSpecObject>;

}  // namespace savedmodel::python

namespace pybind11::detail {

#define SAVEDMODEL_ANNOTATION_NAME(Name, text)        \
  template <>                                         \
  struct handle_type_name<savedmodel::python::Name> { \
    static constexpr auto name = const_name(text);    \
  }
SAVEDMODEL_ANNOTATION_NAME(ArrayObject, "numpy.typing.NDArray[typing.Any]");
SAVEDMODEL_ANNOTATION_NAME(TensorSpecObject, "savedmodel.specs.TensorSpec");
SAVEDMODEL_ANNOTATION_NAME(FingerprintObject, "savedmodel.specs.Fingerprint | None");
SAVEDMODEL_ANNOTATION_NAME(FutureObject,
                           "concurrent.futures.Future["
                           "dict[str, numpy.typing.NDArray[typing.Any]]]");
SAVEDMODEL_ANNOTATION_NAME(CoroutineObject,
                           "collections.abc.Coroutine[typing.Any, typing.Any, "
                           "dict[str, numpy.typing.NDArray[typing.Any]]]");
SAVEDMODEL_ANNOTATION_NAME(BatchStatsObject, "savedmodel.specs.BatchStats");
SAVEDMODEL_ANNOTATION_NAME(BatchedSignatureObject, "BatchedSignature");
SAVEDMODEL_ANNOTATION_NAME(SignatureObject, "Signature");
SAVEDMODEL_ANNOTATION_NAME(DiagnosisObject, "savedmodel.diagnosis.Diagnosis");
SAVEDMODEL_ANNOTATION_NAME(InspectionObject, "savedmodel.inspection.Inspection");
SAVEDMODEL_ANNOTATION_NAME(LoadReportObject, "savedmodel.specs.LoadReport");
SAVEDMODEL_ANNOTATION_NAME(OptimizeReportObject, "savedmodel.specs.OptimizeReport");
SAVEDMODEL_ANNOTATION_NAME(RunnerObject, "savedmodel.specs.Runner");
#undef SAVEDMODEL_ANNOTATION_NAME

}  // namespace pybind11::detail

#endif  // SAVEDMODEL_BINDINGS_ANNOTATIONS_H_
