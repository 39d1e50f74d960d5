#ifndef SAVEDMODEL_RUN_OBJECT_GRAPH_H_
#define SAVEDMODEL_RUN_OBJECT_GRAPH_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "load/bundle_handle.h"
#include "run/function_state.h"
#include "savedmodel/object_graph.h"
#include "savedmodel/session.h"

namespace savedmodel {

// The object graph of one model, and the functions that were taken from it.
class ObjectGraph : public std::enable_shared_from_this<ObjectGraph> {
 public:
  ObjectGraph(std::shared_ptr<BundleHandle> handle, Session session);

  Object root() { return Get(0); }
  Object Get(int id) { return Object(shared_from_this(), id); }
  std::vector<Variable> Variables(bool trainable_only);
  std::vector<Function> RegularizationLosses();

  Object::Kind KindOf(int id) const;
  std::vector<std::pair<std::string, int>> Children(int id) const;
  // -1 if there is none.
  int Child(int id, std::string_view name) const;
  std::string PathOf(int id) const;
  Function GetFunction(int id);
  ConcreteFunction GetConcreteFunction(int id);
  Variable GetVariable(int id) const;
  Tensor Constant(int id) const;
  std::string AssetPath(int id) const;

  // "model '/path', object 'layers.0'"
  std::string Describe(int id) const;

 private:
  // The objects below the root in the order of a walk in breadth.
  std::vector<int> Walk() const;
  std::shared_ptr<ConcreteFunctionState> Concrete(const LoadedBundle& bundle,
                                                  const std::string& name);
  std::vector<Variable> CollectionVariables(const LoadedBundle& bundle,
                                            bool trainable_only) const;

  const std::shared_ptr<BundleHandle> handle_;
  const Session session_;
  // For each object, one that it is a child of, and which of its children; -1 of the
  // root. Paths are made of these: all of them at once can be far longer than the file.
  std::vector<std::pair<int, int>> parents_;

  std::mutex mutex_;  // of the two below
  std::map<int, std::shared_ptr<FunctionState>> functions_;
  // By name; a bare concrete function, which is called otherwise, by its object.
  std::map<std::string, std::shared_ptr<ConcreteFunctionState>> concrete_functions_;
};

}  // namespace savedmodel

#endif  // SAVEDMODEL_RUN_OBJECT_GRAPH_H_
