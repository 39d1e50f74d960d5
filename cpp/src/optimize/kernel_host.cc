#include "optimize/kernel_host.h"

#include "absl/synchronization/notification.h"
#include "optimize/flat_graph.h"
#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/framework/node_properties.h"
#include "tensorflow/core/framework/op.h"

namespace savedmodel {

namespace tf = tensorflow;

KernelHost::KernelHost(const tf::DeviceMgr* devices, const tf::ConfigProto& config,
                       int producer)
    : device_(devices->HostCPU()),
      library_(tf::OpRegistry::Global(), tf::FunctionDefLibrary()),
      runtimes_(std::make_unique<tf::ProcessFunctionLibraryRuntime>(
          devices, tf::Env::Default(), &config, producer, &library_,
          tf::OptimizerOptions())),
      runtime_(runtimes_->GetFLR(device_->name())),
      step_container_(0, [](const std::string&) {}),
      runner_([](std::function<void()> closure) { closure(); }) {}

std::unique_ptr<tf::OpKernel> KernelHost::Make(tf::NodeDef def,
                                               std::size_t num_inputs) const {
  // A kernel is made of a node whose inputs are only counted.
  for (std::size_t i = 0; i < num_inputs; ++i) def.add_input("x" + std::to_string(i));
  std::shared_ptr<const tf::NodeProperties> properties;
  tf::OpKernel* kernel = nullptr;
  absl::Status status =
      tf::NodeProperties::CreateFromNodeDef(def, tf::OpRegistry::Global(), &properties);
  if (status.ok()) status = runtime_->CreateKernel(properties, &kernel);
  if (!status.ok()) {
    throw NotFlat("op " + def.op() + " ('" + def.name() +
                  "') has no kernel here: " + std::string(status.message()));
  }
  return std::unique_ptr<tf::OpKernel>(kernel);
}

void KernelHost::Prepare(tf::OpKernelContext::Params* params) const {
  params->device = device_;
  params->resource_manager = device_->resource_manager();
  params->function_library = runtime_;
  params->runner = &runner_;
  params->step_container = &step_container_;
  params->frame_iter = tf::FrameAndIter(0, 0);
  params->run_all_kernels_inline = true;
}

absl::Status KernelHost::Run(const tf::NodeDef& def,
                             const std::vector<tf::Tensor>& inputs,
                             std::vector<tf::Tensor>* outputs) const {
  const std::unique_ptr<tf::OpKernel> kernel = Make(def, inputs.size());
  // Held here and by the caller, so that no kernel takes an input's memory for its
  // output.
  std::vector<tf::Tensor> held = inputs;
  std::vector<tf::TensorValue> values;
  for (tf::Tensor& tensor : held) values.emplace_back(&tensor);
  const std::vector<tf::AllocatorAttributes> attributes(
      std::max<std::size_t>(inputs.size(), kernel->num_outputs()));
  tf::OpKernelContext::Params params;
  Prepare(&params);
  params.op_kernel = kernel.get();
  params.inputs = values;
  params.input_alloc_attrs = absl::MakeSpan(attributes.data(), inputs.size());
  params.output_attr_array = attributes.data();
  tf::OpKernelContext context(&params, kernel->num_outputs());
  Compute(kernel.get(), device_, &context);
  if (!context.status().ok()) return context.status();
  outputs->clear();
  for (int i = 0; i < kernel->num_outputs(); ++i) {
    const tf::TensorValue output = context.release_output(i);
    if (output.tensor == nullptr)
      return absl::InternalError("op " + def.op() + " gives no output");
    outputs->push_back(std::move(*output.tensor));
    delete output.tensor;
  }
  return absl::OkStatus();
}

void Compute(tf::OpKernel* kernel, tf::Device* device, tf::OpKernelContext* context) {
  tf::AsyncOpKernel* async = kernel->AsAsync();
  if (async == nullptr) {
    device->Compute(kernel, context);
    return;
  }
  absl::Notification done;
  device->ComputeAsync(async, context, [&done] { done.Notify(); });
  done.WaitForNotification();
}

}  // namespace savedmodel
