#ifndef SAVEDMODEL_OBJECT_GRAPH_H_
#define SAVEDMODEL_OBJECT_GRAPH_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "savedmodel/export.h"
#include "savedmodel/function.h"
#include "savedmodel/tensor.h"
#include "savedmodel/variable.h"

namespace savedmodel {

class ObjectGraph;

// An object of the SavedModel's object graph: what tf.saved_model.load gives attributes
// of. Objects may be shared and refer to each other in cycles; the same one has the same
// id. A handle that does not keep a closed model alive: each call throws
// FailedPrecondition then. Thread-safe.
class SAVEDMODEL_EXPORT Object {
 public:
  enum class Kind : int {
    kObject,  // a module, a layer, a model
    kList,    // its children are named "0", "1", ...; some may be missing
    kTuple,   // likewise
    kDict,    // children by key
    kFunction,
    kConcreteFunction,
    kVariable,
    kConstant,
    kAsset,
    kResource,  // a table
    kOther,     // a tensor that only its function knows
  };

  int id() const { return id_; }
  Kind kind() const;
  // In the order they were saved.
  std::vector<std::pair<std::string, Object>> children() const;
  // Throws NotFound, with the children there are.
  Object child(std::string_view name) const;
  Object operator[](std::string_view name) const { return child(name); }

  // Each throws InvalidArgument if the object is of another kind.
  Function function() const;
  ConcreteFunction concrete_function() const;
  Variable variable() const;
  Tensor constant() const;
  std::string asset_path() const;  // absolute

  // "layers.0.kernel"; "" for the root. One of the shortest, where there are several.
  std::string path() const;

 private:
  friend class ObjectGraph;
  Object(std::shared_ptr<ObjectGraph> graph, int id)
      : graph_(std::move(graph)), id_(id) {}
  std::shared_ptr<ObjectGraph> graph_;
  int id_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_OBJECT_GRAPH_H_
