#ifndef SAVEDMODEL_OPTIMIZE_FUSE_H_
#define SAVEDMODEL_OPTIMIZE_FUSE_H_

#include "kernels/kernels.h"
#include "optimize/flat_graph.h"

namespace savedmodel {

// Puts native kernels in place of TensorFlow's ops on float32 where they do several at
// once, or one faster: batch normalisation and other arithmetic by channels go into the
// weights of convolutions and matrix products, residual sums and activations into what is
// done before a result is stored; layer normalisation, attention, the cell of an LSTM
// become one op each. Results differ by rounding; `precision` is that of convolutions and
// matrix products with constant weights.
//
// Throws NotFlat for convolutions that have no native kernel: oneDNN, which is at the
// session's hand alone, computes those faster.
void Fuse(FlatGraph* graph, kernels::Precision precision);

}  // namespace savedmodel

#endif  // SAVEDMODEL_OPTIMIZE_FUSE_H_
