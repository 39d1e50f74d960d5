// The kernels for AVX2 and FMA, compiled with its flags.
// See kernels_avx512.cc about what may stand here.
#include "kernels/simd_avx2.h"
// clang-format off: each needs what those above define.
#include "kernels/activation_impl.h"
#include "kernels/gemm_impl.h"
#include "kernels/pointwise_impl.h"
#include "kernels/window_impl.h"
#include "kernels/winograd_impl.h"
#include "kernels/table_impl.h"
// clang-format on

namespace savedmodel::kernels {

const KernelTable kAvx2Kernels = isa::kTable;

}  // namespace savedmodel::kernels
