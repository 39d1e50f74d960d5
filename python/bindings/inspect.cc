#include "savedmodel/inspect.h"

#include <pybind11/stl.h>

#include "annotations.h"
#include "convert.h"
#include "gil.h"
#include "register.h"
#include "saved_model.h"
#include "savedmodel/diagnose.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

// Makes the records of savedmodel/inspection.py and savedmodel/diagnosis.py. Requires
// GIL.
class Records {
 public:
  py::object ToInspection(const Inspection& inspection) const {
    py::dict checkpoint;
    for (const CheckpointEntry& entry : inspection.checkpoint) {
      checkpoint[Text(entry.key)] =
          Make("CheckpointEntry", DataTypeName(entry.dtype),
               py::tuple(py::cast(entry.shape)), entry.bytes, entry.shard, entry.slices);
    }
    py::dict files;
    for (const FileInfo& file : inspection.files) files[FromPath(file.name)] = file.bytes;
    py::list extra_assets;
    for (const std::string& path : inspection.extra_assets)
      extra_assets.append(FromPath(path));
    return Make("Inspection", FromPath(inspection.path), inspection.versions,
                inspection.format, files,
                List(inspection.meta_graphs, &Records::ToMetaGraph), checkpoint,
                inspection.num_shards, ToFingerprint(inspection.fingerprint),
                extra_assets, inspection.has_debug_info, inspection.has_keras_metadata,
                inspection.has_warmup_requests);
  }

  py::object ToDiagnosis(const Diagnosis& diagnosis) const {
    const py::module_ module = py::module_::import("savedmodel.diagnosis");
    py::list problems;
    for (const Problem& problem : diagnosis.problems) {
      problems.append(module.attr("Problem")(
          problem.is_error ? "error" : "warning", problem.kind, Text(problem.subject),
          Text(problem.message), List(problem.nodes, &Records::ToNode)));
    }
    const MemorySizes& memory = diagnosis.memory;
    return module.attr("Diagnosis")(
        FromPath(diagnosis.path), Texts(diagnosis.tags),
        Text(diagnosis.tensorflow_version), diagnosis.producer, diagnosis.min_consumer,
        diagnosis.runtime_version, diagnosis.consumer, diagnosis.devices, problems,
        Texts(diagnosis.repairs),
        module.attr("MemorySizes")(memory.signature_weights, memory.weights,
                                   memory.checkpoint, memory.graph, memory.constants));
  }

 private:
  // A SavedModel's text is UTF-8, unless somebody made it something else.
  static py::str Text(const std::string& text) {
    return py::reinterpret_steal<py::str>(PyUnicode_DecodeUTF8(
        text.data(), static_cast<Py_ssize_t>(text.size()), "backslashreplace"));
  }

  template <typename... Fields>
  py::object Make(const char* type, Fields&&... fields) const {
    return module_.attr(type)(std::forward<Fields>(fields)...);
  }

  template <typename Record>
  py::list List(const std::vector<Record>& records,
                py::object (Records::*make)(const Record&) const) const {
    py::list list;
    for (const Record& record : records) list.append((this->*make)(record));
    return list;
  }

  static py::list Texts(const std::vector<std::string>& texts) {
    py::list list;
    for (const std::string& text : texts) list.append(Text(text));
    return list;
  }

  py::object ToMetaGraph(const MetaGraphInfo& info) const {
    py::dict signatures;
    for (const auto& [name, signature] : info.signatures)
      signatures[Text(name)] = py::cast(signature);
    py::dict signature_defs;
    for (const auto& [name, signature] : info.signature_defs) {
      signature_defs[Text(name)] =
          Make("SignatureDefInfo", Text(signature.method_name), Tensors(signature.inputs),
               Tensors(signature.outputs));
    }
    py::dict functions;
    py::dict root_functions;
    for (const FunctionInfo& function : info.functions) {
      functions[Text(function.path)] =
          List(function.concrete_functions, &Records::ToConcreteFunction);
      for (const std::string& name : function.root_names)
        root_functions[Text(name)] = Text(function.path);
    }
    py::dict tables;
    for (const TableInfo& table : info.tables) tables[Text(table.path)] = Text(table.op);
    py::dict assets;
    for (const AssetInfo& asset : info.assets)
      assets[Text(asset.tensor)] = FromPath(asset.name);
    py::dict ops;
    for (const auto& [op, count] : info.ops) ops[Text(op)] = count;
    py::dict collections;
    for (const auto& [name, collection] : info.collections) {
      collections[Text(name)] = Make("CollectionInfo", collection.kind, collection.size,
                                     Texts(collection.nodes));
    }
    py::object saver = py::none();
    if (info.saver) {
      saver = Make("SaverInfo", Text(info.saver->filename_tensor_name),
                   Text(info.saver->save_tensor_name), Text(info.saver->restore_op_name),
                   info.saver->sharded, info.saver->max_to_keep, info.saver->version);
    }
    return Make("MetaGraphInfo", Texts(info.tags), Text(info.tensorflow_version),
                Text(info.tensorflow_git_version), info.producer, info.min_consumer,
                signatures, signature_defs, functions, root_functions,
                List(info.variables, &Records::ToVariable), tables, assets, ops,
                Texts(info.called_ops), List(info.nodes, &Records::ToNode),
                info.num_nodes, info.num_functions, info.num_objects, Text(info.init_op),
                collections, saver);
  }

  py::object ToConcreteFunction(const ConcreteFunctionInfo& info) const {
    py::list arguments;
    py::dict keyword_arguments;
    // The reader of SavedModels does not look whether it is (args, kwargs).
    if (info.arguments.kind() == Value::Kind::kTuple &&
        info.arguments.elements().size() == 2) {
      const Value& positional = info.arguments.elements()[0];
      const Value& keyword = info.arguments.elements()[1];
      if (positional.kind() == Value::Kind::kTuple) {
        for (const Value& value : positional.elements())
          arguments.append(ToArgument(value));
      }
      if (keyword.kind() == Value::Kind::kDict) {
        for (const auto& [key, value] : keyword.items())
          keyword_arguments[Text(key)] = ToArgument(value);
      }
    }
    return Make("ConcreteFunctionInfo", Text(info.name), Text(info.inputs),
                Text(info.outputs), arguments, keyword_arguments);
  }

  // The name of the Python class that TensorFlow makes of such a value.
  static std::string TypeName(const Value& value) {
    switch (value.kind()) {
      case Value::Kind::kNone: return "NoneType";
      case Value::Kind::kBool: return "bool";
      case Value::Kind::kInt: return "int";
      case Value::Kind::kFloat: return "float";
      case Value::Kind::kComplex: return "complex";
      case Value::Kind::kString: return "str";
      case Value::Kind::kBytes: return "bytes";
      case Value::Kind::kTensor: return "Tensor";
      case Value::Kind::kTensorSpec: return "TensorSpec";
      case Value::Kind::kTypeSpec: return value.type_spec().class_name;
      case Value::Kind::kList: return "list";
      case Value::Kind::kTuple: return "tuple";
      case Value::Kind::kNamedTuple: return value.type_name();
      case Value::Kind::kDict: return "dict";
      case Value::Kind::kOpaque:
        return value.string_value().rfind("tf.", 0) == 0 ? "DType" : "TensorShape";
    }
    return "";
  }

  py::object ToArgument(const Value& value) const {
    using Kind = Value::Kind;
    const Kind kind = value.kind();
    py::list elements;
    if (kind == Kind::kList || kind == Kind::kTuple) {
      for (const Value& element : value.elements())
        elements.append(py::make_tuple("", ToArgument(element)));
    } else if (kind == Kind::kDict || kind == Kind::kNamedTuple) {
      for (const auto& [key, element] : value.items())
        elements.append(py::make_tuple(Text(key), ToArgument(element)));
    }
    return Make("ArgumentInfo", Text(TypeName(value)),
                Text(kind == Kind::kTensorSpec ? value.tensor_spec().name : ""),
                Text(kind == Kind::kString ? value.string_value() : value.ToString()),
                elements);
  }

  py::dict Tensors(const std::map<std::string, TensorInfo>& tensors) const {
    py::dict dict;
    for (const auto& [key, info] : tensors) {
      dict[Text(key)] =
          Make("TensorInfo", Text(info.name), info.dtype, ToShape(info.shape));
    }
    return dict;
  }

  py::object ToNode(const NodeInfo& info) const {
    const char* use = info.use == NodeInfo::Use::kCalled    ? "called"
                      : info.use == NodeInfo::Use::kRestore ? "restore"
                      : info.use == NodeInfo::Use::kSave    ? "save"
                                                            : "dead";
    py::dict constants;
    for (const auto& [input, text] : info.constants)
      constants[py::int_(input)] = Text(text);
    py::dict fed;
    for (const auto& [input, what] : info.fed)
      fed[py::int_(input)] = what == NodeInfo::Fed::kAsset ? "asset" : "variables";
    return Make("NodeInfo", Text(info.name), Text(info.op), Text(info.function), use,
                constants, fed);
  }

  py::object ToVariable(const VariableInfo& info) const {
    return Make("VariableInfo", Text(info.path), Text(info.name),
                DataTypeName(info.dtype), ToShape(info.shape), info.trainable,
                Text(info.device));
  }

  const py::module_ module_ = py::module_::import("savedmodel.inspection");
};

}  // namespace

// The native half of savedmodel/inspection.py and savedmodel/diagnosis.py, which hold the
// documentation.
void RegisterInspect(py::module_& m) {
  m.def(
      "inspect",
      [](const py::object& path, std::optional<std::int64_t> version,
         const std::vector<std::string>& list_nodes) {
        const std::string bytes = ToPath(path);
        const InspectOptions options{version, {list_nodes.begin(), list_nodes.end()}};
        std::optional<Inspection> inspection;
        {
          const GilRelease released;
          inspection = Inspect(bytes, options);
        }
        return InspectionObject(Records().ToInspection(*inspection));
      },
      py::arg("path"), py::arg("version"), py::arg("list_nodes"));
  m.def(
      "diagnose",
      [](const py::object& path, const py::object& tags,
         std::optional<std::int64_t> version,
         const std::map<std::string, std::string>& dangerous_ops) {
        const std::string bytes = ToPath(path);
        DiagnoseOptions options{std::nullopt, version, dangerous_ops};
        if (!tags.is_none()) options.tags = ToNames(tags, "tags");
        std::optional<Diagnosis> diagnosis;
        {
          const GilRelease released;
          diagnosis = Diagnose(bytes, options);
        }
        return DiagnosisObject(Records().ToDiagnosis(*diagnosis));
      },
      py::arg("path"), py::arg("tags"), py::arg("version"), py::arg("dangerous_ops"));
}

}  // namespace savedmodel::python
