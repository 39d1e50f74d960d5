#include "savedmodel/inspect.h"

#include <pybind11/stl.h>

#include "annotations.h"
#include "convert.h"
#include "gil.h"
#include "register.h"
#include "saved_model.h"

namespace savedmodel::python {

namespace {

namespace py = pybind11;

// Makes the records of savedmodel/inspection.py. Requires GIL.
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
    py::dict functions;
    for (const FunctionInfo& function : info.functions) {
      functions[Text(function.path)] =
          List(function.concrete_functions, &Records::ToConcreteFunction);
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
    return Make("MetaGraphInfo", py::frozenset(Texts(info.tags)),
                Text(info.tensorflow_version), Text(info.tensorflow_git_version),
                info.producer, info.min_consumer, signatures, functions,
                List(info.variables, &Records::ToVariable), tables, assets, ops,
                info.num_nodes, info.num_functions, info.num_objects, Text(info.init_op),
                collections, saver);
  }

  py::object ToConcreteFunction(const ConcreteFunctionInfo& info) const {
    return Make("ConcreteFunctionInfo", Text(info.name), Text(info.inputs),
                Text(info.outputs));
  }

  py::object ToVariable(const VariableInfo& info) const {
    return Make("VariableInfo", Text(info.path), Text(info.name),
                DataTypeName(info.dtype), ToShape(info.shape), info.trainable,
                Text(info.device));
  }

  const py::module_ module_ = py::module_::import("savedmodel.inspection");
};

}  // namespace

// The native half of savedmodel/inspection.py, which holds the documentation.
void RegisterInspect(py::module_& m) {
  m.def(
      "inspect",
      [](const py::object& path, std::optional<std::int64_t> version) {
        const std::string bytes = ToPath(path);
        std::optional<Inspection> inspection;
        {
          const GilRelease released;
          inspection = Inspect(bytes, version);
        }
        return InspectionObject(Records().ToInspection(*inspection));
      },
      py::arg("path"), py::arg("version"));
}

}  // namespace savedmodel::python
