#include "optimize/kernel_host.h"

#include "absl/synchronization/notification.h"
#include "optimize/flat_graph.h"
#include "tensorflow/core/common_runtime/device.h"
#include "tensorflow/core/common_runtime/process_function_library_runtime.h"
#include "tensorflow/core/common_runtime/threadpool_device.h"
#include "tensorflow/core/framework/allocator.h"
#include "tensorflow/core/framework/node_properties.h"
#include "tensorflow/core/framework/op.h"
#include "tensorflow/core/public/session_options.h"

namespace savedmodel {

namespace tf = tensorflow;

namespace {

std::unique_ptr<tf::Device> MakeNativeDevice(const tf::ConfigProto& config) {
  tf::SessionOptions options;
  options.config = config;
  // As TensorFlow makes a session's.
  return std::make_unique<tf::ThreadPoolDevice>(
      options, "/job:localhost/replica:0/task:0/device:CPU:0", tf::Bytes(256 << 20),
      tf::DeviceLocality(), tf::cpu_allocator());
}

}  // namespace

// What TensorFlow's kernels are made and run with.
struct KernelHost::Runtime {
  Runtime(const tf::DeviceMgr* devices, int producer)
      : device(devices->HostCPU()),
        library(tf::OpRegistry::Global(), tf::FunctionDefLibrary()),
        runtimes(devices, tf::Env::Default(), &config, producer, &library,
                 tf::OptimizerOptions()),
        runtime(runtimes.GetFLR(device->name())),
        step_container(0, [](const std::string&) {}),
        runner([](std::function<void()> closure) { closure(); }) {}

  tf::Device* const device;
  const tf::ConfigProto config;
  const tf::FunctionLibraryDefinition library;
  tf::ProcessFunctionLibraryRuntime runtimes;
  tf::FunctionLibraryRuntime* const runtime;
  mutable tf::ScopedStepContainer step_container;
  mutable std::function<void(std::function<void()>)> runner;
};

KernelHost::KernelHost(Devices devices, const tf::ConfigProto& config, int producer)
    : devices_(std::move(devices)),
      producer_(producer),
      native_device_(MakeNativeDevice(config)) {}

KernelHost::~KernelHost() = default;

const KernelHost::Runtime& KernelHost::runtime() const {
  std::call_once(made_, [this] {
    runtime_ = std::make_unique<const Runtime>(devices_(), producer_);
  });
  return *runtime_;
}

tf::Device* KernelHost::device() const { return runtime().device; }

std::unique_ptr<tf::OpKernel> KernelHost::Make(tf::NodeDef def,
                                               std::size_t num_inputs) const {
  // A kernel is made of a node whose inputs are only counted.
  for (std::size_t i = 0; i < num_inputs; ++i) def.add_input("x" + std::to_string(i));
  const Runtime& made = runtime();
  std::shared_ptr<const tf::NodeProperties> properties;
  tf::OpKernel* kernel = nullptr;
  absl::Status status =
      tf::NodeProperties::CreateFromNodeDef(def, tf::OpRegistry::Global(), &properties);
  if (status.ok()) status = made.runtime->CreateKernel(properties, &kernel);
  if (!status.ok()) {
    throw NotFlat("op " + def.op() + " ('" + def.name() +
                  "') has no kernel here: " + std::string(status.message()));
  }
  return std::unique_ptr<tf::OpKernel>(kernel);
}

void KernelHost::Prepare(tf::OpKernelContext::Params* params) const {
  const Runtime& made = runtime();
  params->device = made.device;
  params->resource_manager = made.device->resource_manager();
  params->function_library = made.runtime;
  params->runner = &made.runner;
  params->step_container = &made.step_container;
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
  Compute(kernel.get(), device(), &context);
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
